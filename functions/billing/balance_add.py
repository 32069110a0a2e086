"""Put money on the caller's own balance."""

from functions.billing.idempotency import Moved, Once
from functions.billing.internal_add import add
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.idempotency import IdempotencyKey
from functions.shared.rest import rest
from schemas.answers import Simple
from schemas.billing import BalanceChange


@rest(
    "POST",
    "/ui-api-service/api/v1/external/user/balance/add",
    "/ui-api-service/api/v1/user/balance/add",
    caller="bearer",
)
def balance_add(body: BalanceChange, caller: Caller, key: IdempotencyKey | None, db: Database) -> Moved:
    """Add to one's own balance."""
    if body.username != caller.username:
        return Simple.refused("Access denied")
    return Once(caller.username, key, "add", body).do(lambda: add(body, db), db)
