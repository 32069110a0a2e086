"""One scenario, played once: measurements before and after, the outcome of every order, and the audit."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from pg8000.native import Connection

from tools import audit
from tools.bench import messages, outcomes, resources, round_trips, statements
from tools.bench.load import Counts, Load, Sent
from tools.bench.orders import Book
from tools.bench.outcomes import End
from tools.bench.scenarios import Pace, Scenario, play
from tools.bench.session import NOT_OURS, Bench
from tools.local.processes import wait_until

TURNS = 2_000_000
LOOP = compile("for _ in range(turns): pass", "loop", "exec")
LAST = 64
Measurements = dict[str, float | None]


@dataclass
class Result:
    """Measurements of one run by name, what is too long for a table, what was wrong, and what is worth saying."""

    measurements: Measurements
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def loop_turn_ns(turns: int = TURNS) -> float:
    """How long a turn of an empty loop takes, as `python3 -c` runs it: the speed of this machine at this moment.

    In a function it takes about half.
    """
    began = time.perf_counter()
    exec(LOOP, {"turns": turns})
    return (time.perf_counter() - began) / turns * 1e9


def measure(bench: Bench, scenario: Scenario, tag: str, pace: Pace) -> Result:
    """Play it, and look at everything."""
    bench.guests.renew()
    turn, before = loop_turn_ns(), read(bench)
    load = asyncio.run(_played(bench, scenario, tag, pace))
    sent = load.counts.sent
    late = _until_notified(bench, tag, sent)
    after = read(bench)
    found = outcomes.ends(bench.connection, bench.names, tag)
    result = Result(rates(scenario, load.counts, found, pace) | {"connections_lost": load.lost})
    result.measurements |= outcomes.all_latencies(sent, found, scenario.kind == "open")
    if sent:
        result.measurements |= used(bench, before, after, len(sent))
        result.details["most_expensive_statements"] = statements.most_expensive(before.sql, after.sql, len(sent))
    result.measurements |= by_process("memory_mib", resources.memory_mib(bench.processes))
    result.measurements |= {"loop_turn_ns.before": turn, "loop_turn_ns.after": loop_turn_ns()}
    result.problems += [f"{count} x {text}" for text, count in load.counts.problems.items()]
    result.problems += late + outcomes.mistakes(sent, found) + audited(bench.connection)
    return result


async def _played(bench: Bench, scenario: Scenario, tag: str, pace: Pace) -> Load:
    book = Book(bench.supplies, bench.options.mix, tag)
    load = Load(bench.target.address, book, bench.watch, scenario.connections(bench.options.connections))
    async with load.at_work():
        await play(scenario, load, pace)
    return load


def _until_notified(bench: Bench, tag: str, sent: list[Sent]) -> list[str]:
    """Wait until every order has ended and was notified of; what to say when that takes too long."""
    last = [each.order_id for each in sent[-LAST:]]
    left: list[int] = []

    def all_notified() -> bool:
        left[:] = outcomes.under_way(bench.connection, bench.names, tag)
        return not any(left)

    patience = bench.options.patience
    # To look at all orders is dear: first at those that were sent last.
    soon = wait_until(lambda: not outcomes.not_notified(bench.connection, last), patience, every=0.05)
    if wait_until(all_notified, patience if soon else 0, every=0.2):
        return []
    return [f"after {patience:g} s: {left[0]} orders have not ended, {left[1]} were not told of"]


def audited(connection: Connection, patience: float = 15) -> list[str]:
    """What contradicts; the outbox may take a moment to be empty."""
    found: list[audit.Finding] = []

    def nothing() -> bool:
        found[:] = audit.findings(connection)
        return not found

    wait_until(nothing, patience, every=0.5)
    return [f"audit: {finding.check}: {finding}" for finding in found[: audit.SHOWN]]


def rates(scenario: Scenario, counts: Counts, found: dict[str, End], pace: Pace) -> Measurements:
    """Orders a second, from the first request on."""
    if not counts.sent:
        return {"orders": 0, "refused_503": counts.refused}
    ended = sorted(end.ended for end in found.values() if end.ended)
    measurements: Measurements = {
        "orders": len(counts.sent),
        "accepted_per_second": len(counts.sent) / (counts.last - counts.first),
        "settled_per_second": len(ended) / (ended[-1] - counts.first) if ended else 0.0,
        "refused_503": counts.refused,
    }
    if scenario.kind == "no-wait" and ended:
        measurements |= _pressure(counts, found, ended, counts.first + pace.seconds)
    return measurements


def _pressure(counts: Counts, found: dict[str, End], ended: list[float], until: float) -> Measurements:
    """How much of what was accepted was settled meanwhile, and how long the rest took."""
    accepted = sum(end.accepted <= until for end in found.values())
    settled = sum(at <= until for at in ended)
    seconds = until - counts.first
    return {
        "accepted_per_second": accepted / seconds,
        "settled_per_second": settled / seconds,
        "settled_of_accepted": settled / accepted,
        "backlog_at_the_end": accepted - settled,
        "drained_after_seconds": max(0.0, ended[-1] - until),
    }


@dataclass(frozen=True)
class Reading:
    """All counters at one moment."""

    cpu: dict[str, float]
    sql: statements.Counts
    trips: round_trips.Asked | None
    messages: dict[str, float | None]
    questions: int


def read(bench: Bench) -> Reading:
    """As they are now."""
    return Reading(
        resources.cpu_ms(bench.processes),
        statements.counts(bench.connection, bench.with_statements),
        round_trips.counts(bench.target.database),
        messages.counts(bench.target.scraped),
        bench.watch.questions,
    )


def used(bench: Bench, before: Reading, after: Reading, orders: int) -> Measurements:
    """What an order took."""
    spent = {name: (after.cpu[name] - before.cpu[name]) / orders for name in after.cpu}
    trips = round_trips.round_trips(before.trips, after.trips, bench.own_ports)
    return (
        by_process("cpu_ms", spent)
        | {"sql.round_trips": None if trips is None else trips / orders}
        | statements.measurements(before.sql, after.sql, orders, after.questions - before.questions)
        | messages.measurements(before.messages, after.messages, orders)
    )


def by_process(measurement: str, values: dict[str, float]) -> Measurements:
    """A value for each process, and the sum without the measuring side's own; nothing for a system elsewhere."""
    if not values:
        return {}
    whole = sum(value for name, value in values.items() if name not in NOT_OURS)
    return {f"{measurement}.sum": whole} | {f"{measurement}.{name}": value for name, value in values.items()}
