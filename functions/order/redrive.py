"""Re-drive what is stuck: send an open order's first event, or an ended order's notification, once more.

Sending a saga's first event again is always safe: every step answers from what it has decided, and the order
goes on at the step where it stopped.
"""

import time
from collections import Counter
from collections.abc import Callable
from logging import ERROR, WARNING
from typing import Any

from pydantic import Field

from functions.order import outbox
from functions.order.saga_start import SagaSettings
from functions.shared import database
from functions.shared.call import CallFailed, call
from functions.shared.cron import scheduled
from functions.shared.database import Database
from functions.shared.retry_policy import REDRIVE
from functions.shared.settings import BrokerSettings, CallSettings, read
from functions.shared.telemetry.logs import log
from schemas.events import EmailMessage, NewOrder

BATCH = 500
LONGEST_RUN = 8.0  # seconds

# Each try waits twice as long as the one before, up to an hour. An open order has a number of tries; an ended one is
# looked at until its mail is there, because a late one may come at any time. As a plain subquery the batch would be
# chosen anew for each row where the planner expects few, and be larger than it may be.
DUE = """
    WITH due AS MATERIALIZED (
        SELECT order_id FROM orders
         WHERE notified_at IS NULL AND redrive_at <= now() AND (ended_at IS NULL) = :open
           AND (redrives < :tries OR NOT :open)
         ORDER BY redrive_at LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    UPDATE orders
       SET redrives = redrives + 1,
           redrive_at = now() + make_interval(
               secs => least(CAST(:deadline AS double precision) * power(2, least(redrives, 12)),
                             CAST(:longest AS double precision)))
     WHERE order_id IN (SELECT order_id FROM due)
    RETURNING order_id, msg_id, username, email, request, reason, redrives
"""

USED_UP = """
    SELECT order_id FROM orders
     WHERE notified_at IS NULL AND needs_attention_at IS NULL AND ended_at IS NULL
       AND redrive_at <= now() AND redrives >= :tries
     ORDER BY redrive_at LIMIT 500 FOR UPDATE SKIP LOCKED
"""

MARK = """
    UPDATE orders SET needs_attention_at = now()
     WHERE order_id = :order_id AND needs_attention_at IS NULL
    RETURNING order_id
"""

NOTIFIED = "UPDATE orders SET notified_at = now() WHERE order_id = ANY(CAST(:order_ids AS text[]))"


class RedriveSettings(SagaSettings):
    """When an order stands still, and when a person has to look."""

    saga_tries: int = Field(
        default=REDRIVE.tries, ge=1, description="tries until an order is marked as needing attention"
    )


@scheduled(BrokerSettings, CallSettings, RedriveSettings)
def redrive() -> dict[str, int]:
    """Drive on what is due; orders that no try could end are marked as needing attention."""
    settings = read(RedriveSettings)
    terms = {"deadline": settings.saga_deadline_seconds, "tries": settings.saga_tries, "longest": REDRIVE.longest}
    done = Counter(orders=0, notifications=0, needing_attention=0)
    # One batch of open orders a run: where a backlog is the cause, more events would only make it longer.
    _reopen(terms, done)
    _until_done(lambda: _remind(terms, done))
    _until_done(lambda: _give_up(settings.saga_tries, done))
    return dict(done)


def _until_done(some: Callable[[], int]) -> None:
    """Batch after batch, as long as they are full and there is time before the next run."""
    began, found = time.monotonic(), BATCH
    while found == BATCH and time.monotonic() - began < LONGEST_RUN:
        found = some()


def _reopen(terms: dict, done: Counter) -> None:
    with database.transaction() as db:
        for order in db.rows(DUE, **terms, open=True):
            if _sent(db, order, NewOrder.event_type, done):
                done["orders"] += 1
                log("order driven on", level=WARNING, order=order.order_id, tries=order.redrives)


def _remind(terms: dict, done: Counter) -> int:
    """Ended orders: those that have their mail are settled, for the others the notification goes out again."""
    with database.transaction() as db:
        due = db.rows(DUE, **terms, open=False)
    if not due:
        return 0
    try:
        lacking = set(call("notification-missing", {"orderIds": [order.order_id for order in due]})["orderIds"])
    except CallFailed as problem:
        log("notifications not compared", level=WARNING, reason=str(problem))
        return 0
    with database.transaction() as db:
        db.rows(NOTIFIED, order_ids=sorted({order.order_id for order in due} - lacking))
        for order in (order for order in due if order.order_id in lacking):
            if order.redrives > terms["tries"]:
                _mark(db, order.order_id, "no try has brought the mail", done)
            elif _sent(db, order, EmailMessage.event_type, done):
                done["notifications"] += 1
                log("notification sent again", level=WARNING, order=order.order_id, tries=order.redrives)
    return len(due)


def _sent(db: Database, order: Any, event_type: str, done: Counter) -> bool:
    """Each order by itself: one whose row cannot be read is marked and logged, and the others go on."""
    try:
        outbox.put(db, outbox.event_of(order, event_type))
    except outbox.Unreadable as problem:
        _mark(db, order.order_id, f"its row cannot be read: {problem}", done)
        return False
    return True


def _give_up(tries: int, done: Counter) -> int:
    with database.transaction() as db:
        lost = db.rows(USED_UP, tries=tries)
        for order in lost:
            _mark(db, order.order_id, f"{tries} tries have not ended it", done)
    return len(lost)


def _mark(db: Database, order_id: str, reason: str, done: Counter) -> None:
    if db.rows(MARK, order_id=order_id):
        done["needing_attention"] += 1
        log("order needs attention", level=ERROR, order=order_id, reason=reason)
