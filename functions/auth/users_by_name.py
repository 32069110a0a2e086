"""Show a user by its name, for administrators."""

from functions.shared.database import Database
from functions.shared.rest import admin_refusal, rest
from schemas.auth import PersonFound
from schemas.fields import Text, plain_name

READ = """
    SELECT username, first_name, middle_name, last_name, email, mobile_phone
      FROM accounts WHERE username = :username
"""


@rest("GET", "/auth-service/api/v1/users/username/{username}", caller="admin", refusal=admin_refusal)
def users_by_name(username: Text, db: Database) -> PersonFound:
    """The user of that name; an unknown name is no error here, its answer is empty."""
    user = db.row(READ, username=username) or db.row(READ, username=plain_name(username))
    return PersonFound(**user._asdict()) if user else PersonFound()
