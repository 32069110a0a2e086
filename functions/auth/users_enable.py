"""Let a user log in, or no longer, for administrators."""

from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import Enabled, Id
from schemas.error_codes import ADMIN_STAYS_ENABLED, USER_NOT_FOUND

# Disabling ends every login of the user, and a trigger of the table revokes its access tokens.
SWITCH = """
    UPDATE accounts
       SET enabled = :enabled, generation = generation + CASE WHEN :enabled THEN 0 ELSE 1 END
     WHERE id = :id AND (:enabled OR 'ROLE_ADMIN' <> ALL(authorities))
    RETURNING id, enabled
"""

KNOWN = "SELECT id FROM accounts WHERE id = :id"


@rest("POST", "/auth-service/api/v1/users/{id}/{enabled}", caller="admin", refusal=admin_refusal)
def users_enable(id: Id, enabled: bool, db: Database) -> Enabled:
    """Enable or disable a user; disabling revokes its tokens, which everybody knows some seconds later."""
    if user := db.row(SWITCH, id=id, enabled=enabled):
        return Enabled(id=user.id, is_enabled=user.enabled)
    if db.row(KNOWN, id=id):
        return Enabled.refused(ADMIN_STAYS_ENABLED)
    return Enabled.refused(USER_NOT_FOUND)
