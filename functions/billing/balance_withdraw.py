"""Take money off the caller's own balance."""

from functions.billing.idempotency import Moved, Once
from functions.billing.internal_withdraw import take
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.idempotency import IdempotencyKey
from functions.shared.rest import rest
from schemas.answers import Simple
from schemas.billing import BalanceChange


@rest("POST", "/ui-api-service/api/v1/external/user/balance/withdraw", caller="bearer")
def balance_withdraw(body: BalanceChange, caller: Caller, key: IdempotencyKey | None, db: Database) -> Moved:
    """Withdraw from one's own balance."""
    if body.username != caller.username:
        return Simple.refused("Access denied")
    return Once(caller.username, key, "withdraw", body).do(lambda: take(body, db), db)
