"""Change a user, for administrators."""

from functions.auth import passwords, registrations
from functions.auth.accounts import ACCOUNT_BY_ID, ADMIN, USER, names_of, taken
from functions.shared import database
from functions.shared.database import Database
from functions.shared.rest import Response, admin_refusal, rest
from functions.shared.settings import CallSettings, DatabaseSettings, InstallationSettings, require
from schemas.auth import AccountEdit, AccountFound
from schemas.error_codes import LAST_ADMIN_STAYS, USER_NOT_FOUND, not_done
from schemas.fields import plain_name

require(DatabaseSettings, CallSettings, InstallationSettings)

RETRY = {"Retry-After": "5"}

KNOWN = "SELECT id, username FROM accounts WHERE username = :username"

# A new password ends every login of the user.
EDIT = """
    UPDATE accounts
       SET first_name = coalesce(:first_name, first_name), middle_name = coalesce(:middle_name, middle_name),
           last_name = coalesce(:last_name, last_name), email = coalesce(:email, email),
           mobile_phone = coalesce(:mobile_phone, mobile_phone), password = coalesce(:password, password),
           generation = generation + CASE WHEN :password_changes THEN 1 ELSE 0 END
     WHERE username = :username
    RETURNING id
"""

GRANT = """
    WITH granted AS (
        SELECT id FROM roles WHERE name = ANY(CAST(:roles AS text[]))
    ), withdrawn AS (
        DELETE FROM user_roles WHERE user_id = :id AND role_id NOT IN (SELECT id FROM granted)
    )
    INSERT INTO user_roles (user_id, role_id)
    SELECT CAST(:id AS bigint), id FROM granted
    ON CONFLICT DO NOTHING
"""

# Whoever takes ROLE_ADMIN from somebody waits for the others who do: two may not take it from each other.
ONE_AT_A_TIME = "SELECT id FROM roles WHERE name = 'ROLE_ADMIN' FOR UPDATE"

LAST = """
    SELECT id FROM accounts
     WHERE username = :username AND 'ROLE_ADMIN' = ANY(authorities)
       AND NOT EXISTS (SELECT FROM accounts others
                        WHERE others.username <> :username AND others.enabled
                          AND 'ROLE_ADMIN' = ANY(others.authorities))
"""


@rest("POST", "/auth-service/api/v1/users/edit", caller="admin", refusal=admin_refusal)
def users_edit(body: AccountEdit) -> AccountFound | Response[AccountFound]:
    """Change what is given of the user of that name; who gets ROLE_USER has a balance before."""
    with database.transaction() as db:
        user = db.row(KNOWN, username=body.username) or db.row(KNOWN, username=plain_name(body.username))
        roles, unknown = names_of(body.roles or (), db)
    if user is None:
        return AccountFound.refused(USER_NOT_FOUND)
    if unknown:
        return AccountFound.refused(not_done(f"Unknown role: {', '.join(unknown)}"))
    if USER in roles and not registrations.open_account(user):
        refused = AccountFound.refused(not_done("Billing cannot be reached, nothing was changed"))
        return Response(refused, 503, RETRY)
    try:
        with database.transaction() as db:
            return _edited(body.model_copy(update={"username": user.username}), roles, db)
    except database.Duplicate as problem:
        return AccountFound.refused(not_done(taken(problem)))


def _edited(body: AccountEdit, roles: list[str], db: Database) -> AccountFound:
    if body.roles is not None and ADMIN not in roles and _is_last_administrator(body.username, db):
        return AccountFound.refused(LAST_ADMIN_STAYS)
    password = passwords.hashed(body.password) if body.password else None
    facts = body.model_dump(by_alias=False, exclude={"roles"}) | {"password": password}
    user = db.row(EDIT, **facts, password_changes=password is not None)
    if user is None:
        return AccountFound.refused(USER_NOT_FOUND)
    if body.roles is not None:
        db.rows(GRANT, id=user.id, roles=roles)
    return AccountFound.of(db.row(ACCOUNT_BY_ID, id=user.id))


def _is_last_administrator(username: str, db: Database) -> bool:
    """Whether nobody else could give the role back."""
    db.rows(ONE_AT_A_TIME)
    return db.row(LAST, username=username) is not None
