"""Change the caller's own data."""

from functions.auth.accounts import taken
from functions.shared import database
from functions.shared.caller import Caller
from functions.shared.rest import rest
from functions.shared.settings import DatabaseSettings, require
from schemas.answers import Simple
from schemas.auth import Person

require(DatabaseSettings)

EDIT = """
    UPDATE accounts
       SET first_name = :first_name, middle_name = coalesce(:middle_name, middle_name),
           last_name = :last_name, email = :email, mobile_phone = :mobile_phone
     WHERE username = :username
    RETURNING id
"""


@rest("POST", "/ui-api-service/api/v1/external/user/edit", caller="bearer")
def user_edit(body: Person, caller: Caller) -> Simple:
    """Replace one's own data; a missing middle name stays, an empty one is taken."""
    if body.username != caller.username:
        return Simple.refused("Access denied")
    try:
        with database.transaction() as db:
            known = db.row(EDIT, **body.model_dump(by_alias=False))
    except database.Duplicate as problem:
        return Simple.refused(taken(problem))
    return Simple() if known else Simple.refused("Client not found")
