"""Accept an order: the client's answer is given here, the saga runs afterwards."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field

from functions.order import outbox
from functions.order.admission import AdmissionSettings, admission
from functions.order.saga_start import SagaSettings, event_id, order_id, start_event
from functions.shared import exact_json
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from functions.shared.settings import (
    BrokerSettings,
    InstallationSettings,
    Settings,
    TimeZoneSettings,
    read,
    require,
)
from schemas.answers import Simple
from schemas.events import NewOrder
from schemas.order import OrderRequest, OrderTaken

# One order for a user's msgId, with the event that opens its saga: of many requests the first inserts, all others
# wait for it here and find no row to return.
ACCEPT = """
    WITH known AS (
        SELECT order_id, request FROM orders WHERE username = :username AND msg_id = :msg_id
    ), accepted AS (
        INSERT INTO orders (order_id, msg_id, username, email, request, amount, status, redrive_at)
        SELECT :order_id, :msg_id, :username, :email, :request, :amount, 'Accepted',
               now() + make_interval(secs => CAST(:deadline AS double precision))
         WHERE NOT :refuse AND NOT EXISTS (SELECT FROM known)
        ON CONFLICT DO NOTHING
        RETURNING order_id, msg_id, username, email, request
    ), queued AS (
        INSERT INTO outbox (id, type, order_id, traceparent, tracestate)
        SELECT :event_id, :event_type, order_id, :traceparent, :tracestate FROM accepted
        ON CONFLICT (id) DO NOTHING
    )
    SELECT true AS now, order_id, request, msg_id, username, email FROM accepted
    UNION ALL
    SELECT false, order_id, request, NULL, NULL, NULL FROM known
"""

KNOWN = "SELECT order_id, request FROM orders WHERE username = :username AND msg_id = :msg_id"


class SubmitSettings(Settings):
    """How orders are accepted."""

    past_delivery_dates: str = Field(
        default="accept", pattern="^(accept|refuse)$", description="accept or refuse days that are over"
    )


require(SubmitSettings, AdmissionSettings, SagaSettings, BrokerSettings, InstallationSettings)


@rest(
    "POST",
    "/ui-api-service/api/v1/external/order",
    caller="bearer",
    autocommit=True,
    grouped=True,
    admission=admission,
)
def submit(body: OrderRequest, caller: Caller, db: Database) -> OrderTaken | Simple:
    """The same msgId from the same user is the same order; with another body it is refused."""
    if body.user_name != caller.username:
        return Simple.refused("Access denied")
    request = exact_json.dumps(body.model_dump(by_alias=True))
    is_over = _is_over(body)
    row = db.row(ACCEPT, refuse=is_over, **_fields(body, caller, request))
    if row is not None and row.now:
        outbox.send_when_committed(db, lambda: start_event(row))
        return OrderTaken(order_id=row.order_id)
    if row is None and is_over:
        return Simple.refused("deliveryDate: expected today or later, got a day that is over")
    # Without a row another request was first, in this very moment.
    return _again(row or db.row(KNOWN, username=caller.username, msg_id=body.msg_id), body)


def _is_over(body: OrderRequest) -> bool:
    if read(SubmitSettings).past_delivery_dates == "accept":
        return False
    return body.delivery_date < datetime.now(ZoneInfo(read(TimeZoneSettings).time_zone)).date()


def _fields(body: OrderRequest, caller: Caller, request: str) -> dict[str, Any]:
    id = order_id(caller.username, body.msg_id)
    return {
        "order_id": id,
        "msg_id": body.msg_id,
        "username": caller.username,
        "email": caller.email,
        "request": request,
        "amount": body.amount,
        "deadline": read(SagaSettings).saga_deadline_seconds,
        "event_id": event_id(id),
        "event_type": NewOrder.event_type,
        **outbox.trace_columns(),
    }


def _again(accepted: Any, body: OrderRequest) -> OrderTaken | Simple:
    if accepted is not None and _kept(accepted.request) == body:
        return OrderTaken(order_id=accepted.order_id)
    return Simple.refused("msgId: expected a new one for another order, got one that was used before")


def _kept(request: str) -> OrderRequest | None:
    """The order that was accepted, read by today's model: a field that it did not have then is at its default."""
    try:
        return OrderRequest.model_validate(exact_json.loads(request))
    except ValueError:
        return None
