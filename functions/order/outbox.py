"""The order's outbox: which event of which order is to be sent, written in one commit with the order's state.

Whoever has written a row sends its event right after the commit and deletes the row when the broker has confirmed it;
what does not get that far stays in the table, and the flush sends it. A crash between the confirmation and the
deletion sends an event twice; its derived id makes the second one harmless.
"""

from collections.abc import Callable, Sequence
from logging import ERROR
from typing import Any

from cloudevents.http import CloudEvent
from pydantic import Field, ValidationError

from functions.order import broker
from functions.order.broker import NOT_NOW, TAKEN, Outgoing
from functions.order.notice import notice_event
from functions.order.saga_start import start_event
from functions.order.sender import Sender
from functions.shared import database, events
from functions.shared.afterwards import afterwards
from functions.shared.database import Database
from functions.shared.settings import Settings, read
from functions.shared.telemetry import traces
from functions.shared.telemetry.logs import log
from functions.shared.telemetry.traces import Trace
from functions.shared.validation_errors import explain
from schemas.events import EmailMessage, NewOrder

MADE_FROM_ORDER = {NewOrder.event_type: start_event, EmailMessage.event_type: notice_event}

# What the broker has refused is offered to it once more, as often as its order is driven on.
PUT = """
    INSERT INTO outbox (id, type, order_id, traceparent, tracestate)
    VALUES (:id, :type, :order_id, :traceparent, :tracestate)
    ON CONFLICT (id) DO UPDATE SET refusal = NULL WHERE outbox.refusal IS NOT NULL
"""

# Younger rows are on their way by whoever has written them.
WAITING = """
    SELECT q.id, q.event, q.type, q.traceparent, q.tracestate,
           o.order_id, o.msg_id, o.username, o.email, o.request, o.reason
      FROM outbox q LEFT JOIN orders o USING (order_id)
     WHERE q.refusal IS NULL AND q.written_at <= now() - make_interval(secs => CAST(:age AS double precision))
     ORDER BY q.position LIMIT 100 FOR UPDATE OF q SKIP LOCKED
"""

# Ids have no blanks; an array would be looked through letter by letter on its way to the server.
SENT = "DELETE FROM outbox WHERE id = ANY(string_to_array(:ids, ' '))"

REFUSE = "UPDATE outbox SET refusal = :reason WHERE id = :id"


class OutboxSettings(Settings):
    """When the flush takes up what nobody else has sent."""

    order_outbox_age_seconds: float = Field(
        default=2, ge=0, description="how long whoever wrote an event has for sending it"
    )


class Unreadable(Exception):
    """An order's row of which no event can be made; the text says why."""


def event_of(row: Any, event_type: str) -> CloudEvent:
    """The event of that type about an order, from its row; the same each time. Raises Unreadable."""
    try:
        return MADE_FROM_ORDER[event_type](row)
    except ValidationError as problem:
        raise Unreadable(explain(problem, hide=("email",))) from None
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise Unreadable(f"{type(problem).__name__}: {problem}") from None


def trace_columns() -> dict[str, str | None]:
    """The trace of what is being done, for the row of an event that comes of it."""
    trace = traces.current()
    return {"traceparent": trace and trace.traceparent, "tracestate": trace and trace.tracestate}


def put(db: Database, event: CloudEvent) -> None:
    """Write that `event` is to be sent, in the caller's transaction; it is sent as soon as that has committed."""
    db.rows(PUT, id=event["id"], type=event["type"], order_id=event["subject"], **trace_columns())
    send_when_committed(db, lambda: event)


def send_when_committed(db: Database, make: Callable[[], CloudEvent]) -> None:
    """Send the event of a row that the caller's transaction has written, once that has committed.

    It is made and sent beside the request.
    """
    trace = traces.current()

    def outgoing() -> Outgoing:
        return Outgoing(make(), trace)

    db.after_commit(lambda: afterwards(lambda: _sender.put(outgoing)))


def flush(age: float | None = None) -> int:
    """Send what nobody else has sent, oldest first; returns how many events the broker has taken."""
    sent = 0
    age = read(OutboxSettings).order_outbox_age_seconds if age is None else age
    goes_on = True
    while goes_on:
        taken, refused = _flush_some(age)
        sent += taken
        goes_on = bool(taken or refused)
    return sent


def _flush_some(age: float) -> tuple[int, int]:
    """How many events the broker has taken, and how many it never will."""
    with database.transaction() as db:
        waiting, unreadable = _readable(db.rows(WAITING, age=age))
        answers = broker.post(waiting)
        taken, refused = _taken(waiting, answers), unreadable | _refused(waiting, answers)
        if taken:
            db.rows(SENT, ids=" ".join(taken))
        _keep(db, refused)
    return len(taken), len(refused)


def _readable(rows: Sequence[Any]) -> tuple[list[Outgoing], dict[str, str]]:
    """Each row by itself: one that cannot be read is refused, and the others are sent."""
    readable, unreadable = [], {}
    for row in rows:
        try:
            readable.append(_outgoing(row))
        except (Unreadable, events.Unacceptable) as problem:
            unreadable[row.id] = f"its row cannot be read: {problem}"
    return readable, unreadable


def _outgoing(row: Any) -> Outgoing:
    event = events.from_text(row.event) if row.event else event_of(row, row.type)
    trace = Trace(row.traceparent, row.tracestate or "") if row.traceparent else None
    # The row's own id, whatever is in the event: it is what will be deleted.
    return Outgoing(event, trace, row.id)


def _taken(sent: Sequence[Outgoing], answers: Sequence[str | None]) -> list[str]:
    """The rows of what the broker has taken: they may go."""
    return [outgoing.row_id for outgoing, answer in zip(sent, answers, strict=True) if answer is TAKEN]


def _refused(sent: Sequence[Outgoing], answers: Sequence[str | None]) -> dict[str, str]:
    """The rows of what the broker refuses for good, and why: they stay until somebody has looked."""
    pairs = zip(sent, answers, strict=True)
    return {outgoing.row_id: answer for outgoing, answer in pairs if answer not in (TAKEN, NOT_NOW)}


def _keep(db: Database, refused: dict[str, str]) -> None:
    for id, reason in refused.items():
        log("event refused", level=ERROR, id=id, reason=reason)
        db.rows(REFUSE, id=id, reason=reason)


def _send_now(makes: Sequence[Callable[[], Outgoing]]) -> tuple[list[str], bool]:
    """For the sender: the rows that may go, and whether the broker is there."""
    waiting = [outgoing for make in makes if (outgoing := _made(make))]
    answers = broker.post(waiting)
    if refused := _refused(waiting, answers):
        with database.autocommit() as db:
            _keep(db, refused)
    return _taken(waiting, answers), NOT_NOW not in answers


def _made(make: Callable[[], Outgoing]) -> Outgoing | None:
    """Each by itself; of one that can't be made the flush will say why."""
    try:
        return make()
    except Exception:
        log("event not made, the flush tries it", level=ERROR, trace=True)
        return None


def _cross_out(ids: Sequence[str]) -> None:
    with database.autocommit() as db:
        db.rows(SENT, ids=" ".join(ids))


_sender = Sender(_send_now, _cross_out, catch_up=lambda: flush(age=0))
