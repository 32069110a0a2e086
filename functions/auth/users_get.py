"""Show a user by its id, for administrators."""

from functions.auth.accounts import ACCOUNT_BY_ID
from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import AccountFound, Id


@rest("GET", "/auth-service/api/v1/users/{id}", caller="admin", refusal=admin_refusal)
def users_get(id: Id, db: Database) -> AccountFound:
    """The user of that id."""
    return AccountFound.of(db.row(ACCOUNT_BY_ID, id=id))
