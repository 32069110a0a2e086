"""How the orders of one scenario ended, by the database's own clock, and whether they ended as they had to."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean

from pg8000.native import Connection

from tools.bench.load import Sent

ENDS = """
    SELECT o.msg_id, o.reason, extract(epoch FROM o.accepted_at), extract(epoch FROM o.ended_at),
           extract(epoch FROM e.delivered_at)
      FROM "order".orders o LEFT JOIN notification.emails e USING (order_id)
     WHERE o.username = ANY(CAST(:guests AS text[])) AND o.msg_id LIKE :tag || '-%'
"""

NOT_NOTIFIED = """
    SELECT count(*) FROM unnest(CAST(:ids AS text[])) AS sent (order_id)
     WHERE NOT EXISTS (SELECT FROM notification.emails e WHERE e.order_id = sent.order_id)
"""

OPEN = """
    SELECT count(*) FILTER (WHERE o.ended_at IS NULL), count(*)
      FROM "order".orders o
     WHERE o.username = ANY(CAST(:guests AS text[])) AND o.msg_id LIKE :tag || '-%'
       AND (o.ended_at IS NULL OR NOT EXISTS (SELECT FROM notification.emails e WHERE e.order_id = o.order_id))
"""


@dataclass(frozen=True, slots=True)
class End:
    """What became of an order; times are seconds since the epoch, None for what has not happened."""

    reason: str | None
    accepted: float
    ended: float | None
    notified: float | None


def ends(connection: Connection, guests: list[str], tag: str) -> dict[str, End]:
    """The ends of all orders of a tag, by msgId."""
    rows = connection.run(ENDS, guests=guests, tag=tag)
    return {msg_id: End(reason, *map(_seconds, times)) for msg_id, reason, *times in rows}


def _seconds(value: object) -> float | None:
    return None if value is None else float(value)


def not_notified(connection: Connection, order_ids: list[str]) -> int:
    """How many of these have no mail yet: cheap, for a few."""
    return connection.run(NOT_NOTIFIED, ids=order_ids)[0][0]


def under_way(connection: Connection, guests: list[str], tag: str) -> tuple[int, int]:
    """How many orders have not ended, and how many have no mail yet."""
    open_orders, not_notified = connection.run(OPEN, guests=guests, tag=tag)[0]
    return open_orders, not_notified


def mistakes(sent: Iterable[Sent], found: dict[str, End]) -> list[str]:
    """Every kind of order that did not end as it had to, with how often."""
    wrong = Counter(filter(None, (_mistake(each, found.get(each.msg_id)) for each in sent)))
    return [f"{count} x {text}" for text, count in sorted(wrong.items())]


def _mistake(sent: Sent, end: End | None) -> str | None:
    meant = sent.outcome
    if end is None:
        return f"{meant.label}: accepted, and not in the database"
    if end.ended is None:
        return f"{meant.label}: not ended"
    if end.reason != meant.value:
        return f"{meant.label}: expected {meant.value!r}, got {end.reason!r}"
    return None if end.notified else f"{meant.label}: ended, and not told"


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed. Raises IndexError when there are none."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def latencies(name: str, seconds: list[float]) -> dict[str, float]:
    """The measurements of a latency in milliseconds."""
    if not seconds:
        return {}
    measurements = {f"{name}_ms.p{percent}": percentile(seconds, percent) * 1000 for percent in (50, 95, 99)}
    return measurements | {f"{name}_ms.mean": mean(seconds) * 1000, f"{name}_ms.max": max(seconds) * 1000}


def all_latencies(sent: list[Sent], found: dict[str, End], by_intent: bool) -> dict[str, float]:
    """Until the answer, until the end, from the end to the mail, and in all. `by_intent`: from the intended start."""
    pairs = [(each, found[each.msg_id]) for each in sent if each.msg_id in found]
    over = [(each.began if by_intent else end.accepted, end) for each, end in pairs if end.ended and end.notified]
    return (
        latencies("accepted", [each.answered for each in sent])
        | latencies("settled", [end.ended - start for start, end in over])
        | latencies("notification", [end.notified - end.ended for _, end in over])
        | latencies("total", [end.notified - start for start, end in over])
    )
