"""Orders by status and the ages of the oldest that wait, as Prometheus metrics.

Open orders are few and found by the index of unsettled ones. Ended ones are counted for a day back, by the index of
their ends. So the cost does not grow with the table.
"""

from typing import Any

from functions.shared.database import Database
from functions.shared.rest import Response, rest
from functions.shared.telemetry.metrics import TEXT, Found, text_of

OPEN = """
    SELECT status, count(*) AS orders, extract(epoch FROM now() - min(accepted_at)) AS age
      FROM orders WHERE notified_at IS NULL AND ended_at IS NULL GROUP BY status
"""

ENDED = """
    SELECT status, reason, count(*) AS orders
      FROM orders WHERE purged_at IS NULL AND ended_at > now() - interval '1 day' GROUP BY status, reason
"""

ATTENTION = "SELECT count(*) AS orders FROM orders WHERE notified_at IS NULL AND needs_attention_at IS NOT NULL"

OUTBOX = """
    SELECT count(*) FILTER (WHERE refusal IS NULL) AS waiting, count(refusal) AS refused,
           coalesce(extract(epoch FROM now() - min(written_at) FILTER (WHERE refusal IS NULL)), 0) AS age
      FROM outbox
"""


@rest("GET", "/internal/metrics", caller="internal")
def metrics(db: Database) -> Response[bytes]:
    """One snapshot, in Prometheus' text format. The reasons are the few texts that the result writes."""
    db.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    standing = {row.status: row for row in db.rows(OPEN)}
    return Response(
        text_of(
            Found("orders_open", "Orders that have not ended", _numbers(standing), ("status",)),
            Found("orders_oldest_open_age_seconds", "Age of the oldest order that has not ended", _oldest(standing)),
            Found("orders_ended_last_day", "Orders that ended in the last 24 hours", *_ended(db)),
            Found("orders_needing_attention", "Orders that no try could end", db.row(ATTENTION).orders),
            *_outbox(db.row(OUTBOX)),
        ),
        headers={"Content-Type": TEXT},
    )


def _numbers(standing: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {(status,): standing[status].orders if status in standing else 0 for status in ("Accepted", "Created")}


def _oldest(standing: dict[str, Any]) -> float:
    return float(max((row.age for row in standing.values()), default=0))


def _ended(db: Database) -> tuple[dict[tuple[str, ...], float], tuple[str, ...]]:
    return {(row.status, row.reason): row.orders for row in db.rows(ENDED)}, ("status", "reason")


def _outbox(row: Any) -> list[Found]:
    return [
        Found("order_outbox_rows", "Events that wait to be sent", row.waiting),
        Found("order_outbox_refused_rows", "Events that the broker refused for good", row.refused),
        Found("order_outbox_oldest_age_seconds", "Age of the oldest event that waits to be sent", float(row.age)),
    ]
