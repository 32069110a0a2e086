"""List the caller's orders with their states."""

from functions.order.find import state
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.error_codes import ACCESS_DENIED
from schemas.order import FoundOrders, OrdersQuery

NEWEST = """
    SELECT order_id, msg_id, amount, status, reason, pay_status, store_status, delivery_status,
           accepted_at, ended_at, needs_attention_at, notified_at
      FROM orders
     WHERE username = :username
     ORDER BY accepted_at DESC, order_id LIMIT :size OFFSET :offset
"""


@rest("POST", "/ui-api-service/api/v1/external/order/list", caller="bearer", autocommit=True)
def list_orders(body: OrdersQuery, caller: Caller, db: Database) -> FoundOrders:
    """The newest first, page by page."""
    if body.user_name != caller.username:
        return FoundOrders.refused(ACCESS_DENIED)
    return FoundOrders(orders=[state(row) for row in db.rows(NEWEST, username=caller.username, **body.rows)])
