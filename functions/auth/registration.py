"""Become a user of the system."""

from typing import Any

from functions.auth import passwords, registrations
from functions.auth.accounts import taken
from functions.shared import database
from functions.shared.rest import Response, rest
from functions.shared.settings import CallSettings, DatabaseSettings, InstallationSettings, require
from schemas.answers import Simple
from schemas.auth import NewUser

require(DatabaseSettings, CallSettings, InstallationSettings)

UNFINISHED = """
    SELECT id, username, password FROM users
     WHERE username = :username AND confirmed_at IS NULL AND deleted_at IS NULL
       AND (first_name, middle_name, last_name, email, mobile_phone)
           IS NOT DISTINCT FROM (:first_name, :middle_name, :last_name, :email, :mobile_phone)
"""

RESUME = """
    UPDATE users SET resume_at = now() + interval '15 seconds'
     WHERE id = :id AND confirmed_at IS NULL AND resume_at <= now()
    RETURNING id, username
"""


@rest("POST", "/ui-api-service/api/v1/auth/registration", caller="public")
def registration(body: NewUser) -> Simple | Response[Simple]:
    """Make a user with ROLE_USER and a balance; the same again completes what stopped half-way."""
    password = passwords.hashed(body.password)
    try:
        with database.transaction() as db:
            user = registrations.keep(body, password, db)
    except database.Duplicate as problem:
        user = _unfinished(body)
        if user is None:
            return Simple.refused(taken(problem))
    if not registrations.complete(user):
        return Response(Simple.refused(registrations.KEPT), 503, {"Retry-After": "5"})
    return Simple()


def _unfinished(body: NewUser) -> Any | None:
    """The same registration, if it stopped half-way and nobody else is busy with it."""
    with database.transaction() as db:
        user = db.row(UNFINISHED, **body.model_dump(by_alias=False, exclude={"password"}))
        if user is None or not passwords.fits(user.password, body.password):
            return None
        return db.row(RESUME, id=user.id)
