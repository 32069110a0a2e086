"""Make a user, for administrators."""

from functions.auth import passwords, registrations
from functions.auth.accounts import ACCOUNT_BY_ID, USER, names_of, taken
from functions.shared import database
from functions.shared.rest import Response, admin_refusal, rest
from functions.shared.settings import CallSettings, DatabaseSettings, InstallationSettings, require
from schemas.auth import AccountFound, NewAccount, RoleChoice
from schemas.error_codes import not_done

require(DatabaseSettings, CallSettings, InstallationSettings)


@rest("POST", "/auth-service/api/v1/users", caller="admin", refusal=admin_refusal)
def users_create(body: NewAccount) -> AccountFound | Response[AccountFound]:
    """Make a user with any roles, ROLE_USER if none is given; with ROLE_USER it gets a balance."""
    try:
        with database.transaction() as db:
            roles, unknown = names_of(body.roles or (RoleChoice(name=USER),), db)
            if unknown:
                return AccountFound.refused(not_done(f"Unknown role: {', '.join(unknown)}"))
            user = registrations.keep(body, passwords.hashed(body.password), db, roles, body.enabled)
    except database.Duplicate as problem:
        return AccountFound.refused(not_done(taken(problem)))
    if USER in roles and not registrations.complete(user):
        return Response(AccountFound.refused(not_done(registrations.KEPT)), 503, {"Retry-After": "5"})
    with database.transaction() as db:
        return AccountFound.of(db.row(ACCOUNT_BY_ID, id=user.id))
