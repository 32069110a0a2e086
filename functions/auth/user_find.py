"""Tell a user what the system knows about it."""

from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.auth import FindUser, UserFound

READ = """
    SELECT username, first_name, middle_name, last_name, email, mobile_phone
      FROM accounts WHERE username = :username
"""


@rest("POST", "/ui-api-service/api/v1/external/user/find", caller="bearer")
def user_find(body: FindUser, caller: Caller, db: Database) -> UserFound:
    """One's own data."""
    if body.username != caller.username:
        return UserFound.refused(-8511, "Access denied")
    user = db.row(READ, username=body.username)
    return UserFound(**user._asdict()) if user else UserFound.refused(-9000, "Client not found")
