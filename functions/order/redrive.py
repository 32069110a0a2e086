"""Heal what stands still: an open order's first event, an ended order's notification, sent once more.

Sending a saga's first event again is always safe: every step answers from what it has decided, and the order
goes on at the step where it stopped.
"""

import time
from collections.abc import Callable
from logging import ERROR, WARNING

from pydantic import Field

from functions.order import outbox
from functions.order.notice import notice_event
from functions.order.saga_start import SagaSettings, start_event
from functions.shared import database
from functions.shared.call import CallFailed, call
from functions.shared.cron import scheduled
from functions.shared.database import Database
from functions.shared.settings import BrokerSettings, CallSettings, read
from functions.shared.telemetry.logs import log

BATCH = 500
LONGEST_RUN = 8.0  # seconds

# Each try waits twice as long as the one before, up to an hour.
DUE = """
    UPDATE orders
       SET redrives = redrives + 1,
           redrive_at = now() + make_interval(
               secs => least(CAST(:deadline AS double precision) * power(2, least(redrives, 12)), 3600))
     WHERE order_id IN (
               SELECT order_id FROM orders
                WHERE notified_at IS NULL AND redrive_at <= now() AND redrives < :tries
                  AND (ended_at IS NULL) = :open
                ORDER BY redrive_at LIMIT 500 FOR UPDATE SKIP LOCKED)
    RETURNING order_id, msg_id, username, email, request, reason, redrives
"""

GIVE_UP = """
    UPDATE orders SET needs_attention_at = now()
     WHERE order_id IN (
               SELECT order_id FROM orders
                WHERE notified_at IS NULL AND needs_attention_at IS NULL
                  AND redrive_at <= now() AND redrives >= :tries
                ORDER BY redrive_at LIMIT 500 FOR UPDATE SKIP LOCKED)
    RETURNING order_id
"""

NOTIFIED = "UPDATE orders SET notified_at = now() WHERE order_id = ANY(CAST(:order_ids AS text[]))"


class RedriveSettings(SagaSettings):
    """When an order stands still, and when a person has to look."""

    saga_tries: int = Field(default=8, ge=1, description="tries until an order is marked as needing attention")


@scheduled(BrokerSettings, CallSettings, RedriveSettings)
def redrive() -> dict[str, int]:
    """Drive on what is due; orders that no try could end are marked as needing attention."""
    settings = read(RedriveSettings)
    terms = {"deadline": settings.saga_deadline_seconds, "tries": settings.saga_tries}
    return {
        "orders": _reopen(terms),
        "notifications": _until_done(lambda: _remind(terms)),
        "needing_attention": _give_up(settings.saga_tries),
    }


def _until_done(some: Callable[[], tuple[int, int]]) -> int:
    """Batch after batch, as long as they are full and there is time before the next run; gives what they counted."""
    began, counted, found = time.monotonic(), 0, BATCH
    while found == BATCH and time.monotonic() - began < LONGEST_RUN:
        found, count = some()
        counted += count
    return counted


def _reopen(terms: dict) -> int:
    """One batch a run: where a backlog is the cause, more events would only make it longer."""
    with database.transaction() as db:
        due = db.rows(DUE, **terms, open=True)
        for order in due:
            outbox.put(db, start_event(order))
            log("order driven on", level=WARNING, order=order.order_id, tries=order.redrives)
    return len(due)


def _remind(terms: dict) -> tuple[int, int]:
    """Ended orders: those that have their mail are settled, for the others the notification goes out again."""
    with database.transaction() as db:
        due = db.rows(DUE, **terms, open=False)
    if not due:
        return 0, 0
    try:
        lacking = set(call("notification-missing", {"orderIds": [order.order_id for order in due]})["orderIds"])
    except CallFailed as problem:
        log("notifications not compared", level=WARNING, reason=str(problem))
        return 0, 0
    with database.transaction() as db:
        _settle(db, [order for order in due if order.order_id not in lacking])
        for order in due:
            if order.order_id in lacking:
                outbox.put(db, notice_event(order))
                log("notification sent again", level=WARNING, order=order.order_id, tries=order.redrives)
    return len(due), len(lacking)


def _settle(db: Database, settled: list) -> None:
    if settled:
        db.rows(NOTIFIED, order_ids=[order.order_id for order in settled])


def _give_up(tries: int) -> int:
    with database.transaction() as db:
        lost = db.rows(GIVE_UP, tries=tries)
    for order in lost:
        log("order needs attention", level=ERROR, order=order.order_id, tries=tries)
    return len(lost)
