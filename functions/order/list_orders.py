"""Tell where all of the caller's orders stand."""

from functions.order.find import state
from functions.shared.database import Database
from functions.shared.rest import Caller, rest
from schemas.order import FoundOrders, OrdersQuery

NEWEST = "SELECT * FROM orders WHERE username = :username ORDER BY accepted_at DESC, order_id LIMIT 1000"


@rest("POST", "/ui-api-service/api/v1/external/order/list", caller="bearer")
def list_orders(body: OrdersQuery, caller: Caller, db: Database) -> FoundOrders:
    """The newest first, a thousand at the most."""
    if body.user_name != caller.username:
        return FoundOrders.refused(-8513, "Access denied")
    return FoundOrders(orders=[state(row) for row in db.rows(NEWEST, username=caller.username)])
