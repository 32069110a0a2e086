"""Show a user by its name, for administrators."""

from functions.auth.accounts import PERSON_BY_NAME
from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import PersonFound
from schemas.fields import Text, plain_name


@rest("GET", "/auth-service/api/v1/users/username/{username}", caller="admin", refusal=admin_refusal)
def users_by_name(username: Text, db: Database) -> PersonFound:
    """The user of that name; an unknown name is no error here, its answer is empty."""
    user = db.row(PERSON_BY_NAME, username=username) or db.row(PERSON_BY_NAME, username=plain_name(username))
    return PersonFound(**user._asdict()) if user else PersonFound()
