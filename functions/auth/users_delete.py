"""Delete users, for administrators."""

from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import Deleted, UserIds

# A deleted user keeps its name, so that nobody else comes into its balance and its mails, and nothing more.
DELETE = """
    WITH deleted AS (
        UPDATE users
           SET deleted_at = now(), generation = generation + 1, password = NULL, first_name = NULL,
               middle_name = NULL, last_name = NULL, email = NULL, mobile_phone = NULL
         WHERE id IN (SELECT id FROM accounts
                       WHERE id = ANY(CAST(:ids AS bigint[])) AND 'ROLE_ADMIN' <> ALL(authorities))
        RETURNING id
    ), stripped AS (
        DELETE FROM user_roles WHERE user_id IN (SELECT id FROM deleted)
    )
    SELECT id FROM accounts WHERE id = ANY(CAST(:ids AS bigint[])) AND 'ROLE_ADMIN' = ANY(authorities)
"""


@rest("DELETE", "/auth-service/api/v1/users", caller="admin", refusal=admin_refusal)
def users_delete(body: UserIds, db: Database) -> Deleted:
    """Delete whoever is in the list but administrators, who never are; successful if there was none."""
    return Deleted(is_successful=not db.rows(DELETE, ids=body.root))
