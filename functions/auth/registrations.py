"""A user and its billing account, never one without the other: keep the user, open the account, confirm it.

A crash in between leaves a user that is not confirmed: it owns its name and phone, nobody can log in as it,
and finish_registrations.py takes it up again.
"""

from collections.abc import Sequence
from logging import WARNING
from typing import Any

from functions.auth.accounts import USER
from functions.shared import database
from functions.shared.call import CallFailed, call
from functions.shared.database import Database
from functions.shared.telemetry.logs import log
from schemas.auth import NewUser

KEPT = "The registration is kept and will be completed in a moment: sign in then, do not register again"

# Only who orders needs an account at billing.
KEEP = """
    WITH kept AS (
        INSERT INTO users (username, password, first_name, middle_name, last_name, email, mobile_phone,
                           enabled, confirmed_at)
        VALUES (:username, :password, :first_name, :middle_name, :last_name, :email, :mobile_phone,
                :enabled, CASE WHEN :is_client THEN NULL ELSE now() END)
        RETURNING id, username
    ), granted AS (
        INSERT INTO user_roles (user_id, role_id)
        SELECT kept.id, roles.id FROM kept JOIN roles ON roles.name = ANY(CAST(:roles AS text[]))
    )
    SELECT id, username FROM kept
"""

CONFIRM = "UPDATE users SET confirmed_at = now() WHERE id = :id AND confirmed_at IS NULL"

LET_GO = "UPDATE users SET resume_at = now() WHERE id = :id AND confirmed_at IS NULL"


def keep(person: NewUser, password: str, db: Database, roles: Sequence[str] = (USER,), enabled: bool = True) -> Any:
    """Store a user with its hashed password: a row of id and username. Clients wait to be completed."""
    facts = person.model_dump(by_alias=False, include=set(NewUser.model_fields)) | {"password": password}
    return db.row(KEEP, **facts, roles=list(roles), enabled=enabled, is_client=USER in roles)


def complete(user: Any) -> bool:
    """Open the account of a user (a row of id and username) and confirm it; False: not now, it stays kept."""
    if open_account(user) and _confirmed(user):
        return True
    try:
        with database.transaction() as db:
            db.rows(LET_GO, id=user.id)
    except (database.Unavailable, database.Conflict):
        pass  # then it is let go when its time is over
    return False


def open_account(user: Any) -> bool:
    """Open a balance of zero for a user, once; False: billing cannot be reached now."""
    try:
        call("billing-client-create", {"username": user.username})
    except CallFailed as problem:
        log("no billing account yet", level=WARNING, user=user.id, reason=str(problem))
        return False
    return True


def _confirmed(user: Any) -> bool:
    try:
        with database.transaction() as db:
            db.rows(CONFIRM, id=user.id)
    except (database.Unavailable, database.Conflict) as problem:
        log("not confirmed yet", level=WARNING, user=user.id, reason=str(problem))
        return False
    return True
