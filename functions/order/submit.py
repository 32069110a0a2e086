"""Accept an order: the client's answer is given here, the saga runs afterwards."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field

from functions.order import outbox
from functions.order.opening import SagaSettings, opening_event, order_id
from functions.shared import exact_json
from functions.shared.database import Database
from functions.shared.rest import Caller, rest
from functions.shared.settings import BrokerSettings, ClockSettings, Settings, read
from functions.shared.step import require
from schemas.answers import Simple
from schemas.order import OrderRequest, OrderTaken

# Of many requests with one msgId the first inserts; all others wait for it here and find its row.
ACCEPT = """
    INSERT INTO orders (order_id, msg_id, username, email, request, amount, status, redrive_at)
    VALUES (:order_id, :msg_id, :username, :email, :request, :amount, 'Accepted',
            now() + make_interval(secs => CAST(:deadline AS double precision)))
    ON CONFLICT DO NOTHING
    RETURNING *
"""

ACCEPTED = "SELECT order_id, request FROM orders WHERE username = :username AND msg_id = :msg_id"


class SubmitSettings(Settings):
    """How orders are accepted."""

    past_delivery_dates: str = Field(
        default="accept", pattern="^(accept|refuse)$", description="accept or refuse days that are over"
    )


require(SubmitSettings, SagaSettings, BrokerSettings)


@rest("POST", "/ui-api-service/api/v1/external/order", caller="bearer")
def submit(body: OrderRequest, caller: Caller, db: Database) -> OrderTaken | Simple:
    """The same msgId from the same user is the same order; with another body it is refused."""
    if body.user_name != caller.username:
        return Simple.refused("Access denied")
    request = exact_json.dumps(body.model_dump(by_alias=True))
    message = {"username": caller.username, "msg_id": body.msg_id}
    if accepted := db.row(ACCEPTED, **message):
        return _again(accepted, request)
    if _is_over(body):
        return Simple.refused("deliveryDate: expected today or later, got a day that is over")
    if row := db.row(ACCEPT, **message, **_fields(body, caller, request)):
        outbox.put(db, opening_event(row))
        return OrderTaken(order_id=row.order_id)
    return _again(db.row(ACCEPTED, **message), request)


def _is_over(body: OrderRequest) -> bool:
    if read(SubmitSettings).past_delivery_dates == "accept":
        return False
    return body.delivery_date < datetime.now(ZoneInfo(read(ClockSettings).time_zone)).date()


def _fields(body: OrderRequest, caller: Caller, request: str) -> dict[str, Any]:
    return {
        "order_id": order_id(caller.username, body.msg_id),
        "email": caller.email,
        "request": request,
        "amount": body.amount,
        "deadline": read(SagaSettings).saga_deadline_seconds,
    }


def _again(accepted: Any, request: str) -> OrderTaken | Simple:
    if accepted is not None and accepted.request == request:
        return OrderTaken(order_id=accepted.order_id)
    return Simple.refused("msgId: expected a new one for another order, got one that was used before")
