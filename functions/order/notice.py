"""The event that notifies a client of an order's end: sent when it ends, and again while no mail was delivered."""

from typing import Any

from cloudevents.http import CloudEvent

from functions.shared import events
from schemas.events import EmailMessage, Result

SOURCE = "/order/result"


def event_id(order_id: str) -> str:
    """The id of an order's notification."""
    return events.derived_id(SOURCE, order_id, EmailMessage.event_type)


def notice_event(row: Any) -> CloudEvent:
    """The notification of an ended order, from its row; the same each time."""
    mail = EmailMessage(order_id=row.order_id, user_name=row.username, email=row.email, message=row.reason)
    return events.make(
        type=EmailMessage.event_type,
        source=SOURCE,
        id=event_id(row.order_id),
        subject=row.order_id,
        causation=events.derived_id(SOURCE, row.order_id, Result.event_type),
        data=mail.model_dump(by_alias=True),
    )
