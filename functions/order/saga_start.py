"""The event that opens an order's saga: sent when the order is accepted, and again when it stands still."""

from typing import Any

from cloudevents.http import CloudEvent
from pydantic import Field

from functions.shared import events, exact_json
from functions.shared.retry_policy import REDRIVE
from functions.shared.settings import Settings
from schemas.events import NewOrder
from schemas.order import OrderRequest

SOURCE = "/order/submit"
# What the order's row keeps: every field that a client may send.
REQUEST = set(OrderRequest.model_fields)


class SagaSettings(Settings):
    """When an order stands still."""

    saga_deadline_seconds: float = Field(
        default=REDRIVE.first, gt=0, description="seconds until an order that has not ended is driven on"
    )


def order_id(username: str, msg_id: str) -> str:
    """The order that a user's message means: always the same one."""
    return events.derived_id("order", username, msg_id)


def event_id(order_id: str) -> str:
    """The id of the event that opens an order's saga."""
    return events.derived_id(SOURCE, order_id, NewOrder.event_type)


def start_event(row: Any) -> CloudEvent:
    """The order's first event, from its row; the same each time, so that sending it again only goes on."""
    data = {
        **exact_json.loads(row.request),
        "orderId": row.order_id,
        "userName": row.username,
        "msgId": row.msg_id,
        "email": row.email,
    }
    order = NewOrder.model_validate(data)
    return events.make(
        type=NewOrder.event_type,
        source=SOURCE,
        id=event_id(row.order_id),
        subject=row.order_id,
        causation=row.msg_id if events.PLAIN.fullmatch(row.msg_id) else row.order_id,
        data=order.model_dump(by_alias=True),
    )
