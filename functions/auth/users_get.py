"""Show a user by its id, for administrators."""

from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import AccountFound, Id

READ = """
    SELECT id, roles, username, first_name, middle_name, last_name, email, mobile_phone, enabled
      FROM accounts WHERE id = :id
"""


@rest("GET", "/auth-service/api/v1/users/{id}", caller="admin", refusal=admin_refusal)
def users_get(id: Id, db: Database) -> AccountFound:
    """The user of that id."""
    return AccountFound.of(db.row(READ, id=id))
