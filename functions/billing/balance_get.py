"""Show the caller's own balance."""

from functions.billing.internal_get import get_balance
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.billing import Balance, UserQuery
from schemas.error_codes import ACCESS_DENIED


@rest("POST", "/ui-api-service/api/v1/external/user/balance/get", caller="bearer", autocommit=True)
def balance_get(body: UserQuery, caller: Caller, db: Database) -> Balance:
    """One's own balance."""
    if body.username != caller.username:
        return Balance.refused(ACCESS_DENIED)
    return get_balance(body, db)
