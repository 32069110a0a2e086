"""Take money off the caller's own balance."""

from functions.billing.internal_withdraw import take
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.answers import Simple
from schemas.billing import BalanceChange


@rest("POST", "/ui-api-service/api/v1/external/user/balance/withdraw", caller="bearer")
def balance_withdraw(body: BalanceChange, caller: Caller, db: Database) -> Simple:
    """Withdraw from one's own balance."""
    if body.username != caller.username:
        return Simple.refused("Access denied")
    return take(body, db)
