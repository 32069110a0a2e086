"""Show the state of one of the caller's orders."""

from typing import Any

from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.error_codes import ACCESS_DENIED, ORDER_NOT_FOUND
from schemas.order import FoundOrder, OrderQuery, OrderState

FIND = """
    SELECT order_id, msg_id, amount, status, reason, pay_status, store_status, delivery_status,
           accepted_at, ended_at, needs_attention_at, notified_at
      FROM orders
     WHERE username = :username AND (order_id = :order_id OR msg_id = :msg_id)
"""


def state(row: Any) -> OrderState:
    """An order's row as its owner is shown it."""
    return OrderState(
        order_id=row.order_id,
        msg_id=row.msg_id,
        amount=row.amount,
        status=row.status,
        reason=row.reason,
        pay_status=row.pay_status,
        store_status=row.store_status,
        delivery_status=row.delivery_status,
        accepted_at=row.accepted_at.isoformat(timespec="milliseconds"),
        ended_at=row.ended_at and row.ended_at.isoformat(timespec="milliseconds"),
        needs_attention=row.needs_attention_at is not None and row.notified_at is None,
    )


@rest("POST", "/ui-api-service/api/v1/external/order/find", caller="bearer", autocommit=True)
def find(body: OrderQuery, caller: Caller, db: Database) -> FoundOrder:
    """By the order's id, or by the msgId that it was sent with."""
    if body.user_name != caller.username:
        return FoundOrder.refused(ACCESS_DENIED)
    row = db.row(FIND, username=caller.username, order_id=body.order_id, msg_id=body.msg_id)
    return FoundOrder(order=state(row)) if row else FoundOrder.refused(ORDER_NOT_FOUND)
