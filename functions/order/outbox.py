"""The order's outbox: events written with the state that they tell of, sent until the broker has confirmed them.

A crash between the confirmation and the deletion sends an event twice; its derived id makes the second one harmless.
"""

import threading
import time
from functools import cache
from logging import ERROR, WARNING

import urllib3
from cloudevents.http import CloudEvent

from functions.shared import connections, database, events, traces
from functions.shared.database import Database
from functions.shared.logs import log
from functions.shared.settings import BrokerSettings, read

PUT = """
    INSERT INTO outbox (id, event, traceparent, tracestate) VALUES (:id, :event, :traceparent, :tracestate)
    ON CONFLICT (id) DO NOTHING
"""

WAITING = """
    SELECT id, event, traceparent, tracestate FROM outbox WHERE refusal IS NULL
     ORDER BY position LIMIT 100 FOR UPDATE SKIP LOCKED
"""

SENT = "DELETE FROM outbox WHERE id = ANY(CAST(:ids AS text[]))"

REFUSE = "UPDATE outbox SET refusal = :reason WHERE id = :id"

# A flush holds its rows locked; it must be over well before the database ends an idle transaction.
LONGEST_FLUSH = 8.0
TIMEOUT = urllib3.Timeout(connect=1, read=5)


def put(db: Database, event: CloudEvent) -> None:
    """Write `event` in the caller's transaction; it is sent as soon as that has committed."""
    traceparent, tracestate = traces.current() or (None, None)
    db.rows(PUT, id=event["id"], event=events.to_text(event), traceparent=traceparent, tracestate=tracestate)
    db.after_commit(nudge)


def flush() -> int:
    """Send what waits, oldest first, and tell how many events the broker has taken."""
    sent = 0
    while batch := _flush_some():
        sent += batch
    return sent


def _flush_some() -> int:
    began = time.monotonic()
    sent = []
    with database.transaction() as db:
        for row in db.rows(WAITING):
            refusal = _send(row.event, traces.told_by(row._asdict().get))
            if refusal is None:
                sent.append(row.id)
            elif refusal:
                db.rows(REFUSE, id=row.id, reason=refusal)
            if refusal == "" or time.monotonic() - began > LONGEST_FLUSH:
                break
        if sent:
            db.rows(SENT, ids=sent)
    return len(sent)


def _send(event: str, trace: traces.Trace | None) -> str | None:
    """None: taken. Empty: the broker is not there now, try later. A text: the broker refuses this event for good."""
    broker = read(BrokerSettings).broker_url
    try:
        headers = {"Content-Type": events.STRUCTURED, **(trace.headers() if trace else {})}
        answer = _pool().request("POST", broker, body=event.encode(), headers=headers)
    except urllib3.exceptions.HTTPError as problem:
        log("broker not reached", level=WARNING, reason=str(problem))
        return ""
    if answer.status in (200, 202):
        return None
    if answer.status in (400, 413, 415):
        log("broker refused an event", level=ERROR, reason=answer.data.decode(errors="replace"))
        return f"{answer.status} {answer.data.decode(errors='replace')}"
    log("broker not ready", level=WARNING, status=answer.status)
    return ""


@cache
def _pool() -> urllib3.PoolManager:
    return connections.pool(TIMEOUT)


_wanted = threading.Event()
_starting = threading.Lock()


def nudge() -> None:
    """Flush soon, beside the request that has just committed: cron is the safety net, not the latency."""
    _wanted.set()
    with _starting:
        if not any(thread.name == "outbox" for thread in threading.enumerate()):
            threading.Thread(target=_flush_when_wanted, name="outbox", daemon=True).start()


def _flush_when_wanted() -> None:
    while _wanted.wait():
        _wanted.clear()
        try:
            flush()
        except Exception as problem:
            log("flush failed", level=WARNING, reason=f"{type(problem).__name__}: {problem}")
