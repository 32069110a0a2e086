"""Show the caller's own data."""

from functions.auth.accounts import PERSON_BY_NAME
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.auth import FindUser, UserFound
from schemas.error_codes import CLIENT_NOT_FOUND, USER_DATA_OF_ANOTHER


@rest("POST", "/ui-api-service/api/v1/external/user/find", caller="bearer")
def user_find(body: FindUser, caller: Caller, db: Database) -> UserFound:
    """One's own data."""
    if body.username != caller.username:
        return UserFound.refused(USER_DATA_OF_ANOTHER)
    user = db.row(PERSON_BY_NAME, username=body.username)
    return UserFound(**user._asdict()) if user else UserFound.refused(CLIENT_NOT_FOUND)
