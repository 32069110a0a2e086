"""A steady rate for long: does memory stay flat, and do tables grow by more than an order leaves for ever?"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median_low

from pg8000.native import Connection

from tools.bench import resources
from tools.bench.measure import Measurements, Result, measure
from tools.bench.scenarios import Pace, Scenario
from tools.bench.session import NOT_OURS, Bench
from tools.migrate import connected

SHARE = 70  # percent of the maximum
EVERY = 30.0  # seconds between two looks
LOG_IN_EVERY = 5.0  # seconds until the next guest logs in again: all have to within a quarter of an hour
HOUR = 3600
STILL_FLAT = 0.02  # of its size: what a process may have grown by in the second half
STILL_LEVEL = 1.2  # times what an order left in the first half
# PostgreSQL adds whole pages to a table and to each of its indexes, of the map of its free space three at once.
WHOLE_PAGES = 8 * 8192  # bytes

# Rows are the server's own count, which may be a moment old; counting them would be a load of its own.
TABLES = """
    SELECT schemaname || '.' || relname, n_live_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables
     ORDER BY 1
"""
ENDED = 'SELECT count(*) FROM "order".orders WHERE ended_at IS NOT NULL'


@dataclass(frozen=True)
class Sample:
    """A look at the system: seconds from the beginning, orders ended, MiB by process, rows and bytes by table."""

    seconds: float
    orders: int
    memory_mib: dict[str, float]
    rows: dict[str, int]
    bytes: dict[str, int]


@dataclass
class Looks:
    """Samples from a thread of their own, which keeps the guests logged in too."""

    bench: Bench
    every: float
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """As long as this lasts, and once more at its end."""
        over, began = threading.Event(), time.monotonic()
        works = (self._look, self.every, over, began), (self._log_in, LOG_IN_EVERY, over, began)
        threads = [threading.Thread(target=self._repeat, args=work) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _repeat(self, work: Callable, every: float, over: threading.Event, began: float) -> None:
        try:
            with connected(self.bench.target.database) as connection:
                work(connection, began)
                while not over.wait(every):
                    work(connection, began)
                work(connection, began)
        except Exception as problem:  # what a thread raises is reported by nobody else
            self.problems.append(f"soak: {type(problem).__name__}: {problem}")

    def _look(self, connection: Connection, began: float) -> None:
        tables = connection.run(TABLES)
        self.samples.append(
            Sample(
                time.monotonic() - began,
                connection.run(ENDED)[0][0],
                resources.memory_mib(self.bench.processes),
                {name: rows for name, rows, _ in tables},
                {name: size for name, _, size in tables},
            )
        )

    def _log_in(self, _: Connection, began: float) -> None:
        guests = self.bench.supplies.guests
        self.bench.guests.host.log_in(guests[int((time.monotonic() - began) / LOG_IN_EVERY) % len(guests)])


def soak(bench: Bench, tag: str, rate: float, minutes: float, every: float = EVERY) -> Result:
    """An open loop, with a look now and then."""
    looks = Looks(bench, every)
    with looks.taken():
        result = measure(bench, Scenario("open", SHARE), tag, Pace(minutes * 60, rate))
    result.measurements |= slopes(looks.samples) | growth(looks.samples)
    result.details["samples"] = [asdict(sample) for sample in looks.samples]
    result.notes += growing(looks.samples)
    result.problems += looks.problems
    return result


def halves(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Both have the one in the middle."""
    middle = len(samples) // 2
    return samples[: middle + 1], samples[middle:]


def slopes(samples: list[Sample]) -> Measurements:
    """MiB an hour that each process grew by in the second half, when everything has warmed up."""
    _, late = halves(samples)
    if len(late) < 3:
        return {}
    names = [name for name in late[-1].memory_mib if name not in NOT_OURS]
    return {f"memory_mib_an_hour.{name}": _slope(late, name) for name in names}


def _slope(samples: list[Sample], name: str) -> float:
    """From the first third to the second, or from there to the last, whichever is less: one step is no slope."""
    third = len(samples) // 3
    parts = (samples[:third], samples[third:-third], samples[-third:])
    hours = [median_low(sample.seconds / HOUR for sample in part) for part in parts]
    sizes = [median_low(sample.memory_mib.get(name, 0.0) for sample in part) for part in parts]
    return min((sizes[to] - sizes[at]) / (hours[to] - hours[at]) for at, to in ((0, 1), (1, 2)))


def growth(samples: list[Sample]) -> Measurements:
    """Rows and bytes that an order added to each table that changed, in the first and in the second half."""
    measurements: Measurements = {}
    for half, part in zip(("first", "second"), halves(samples), strict=True):
        orders = part[-1].orders - part[0].orders
        for kind in ("rows", "bytes"):
            first, before, after = (getattr(sample, kind) for sample in (samples[0], part[0], part[-1]))
            changed = [table for table in after if after[table] != first.get(table, 0) and orders]
            measurements |= {f"{kind}_an_order.{t}.{half}": (after[t] - before.get(t, 0)) / orders for t in changed}
    return measurements


def growing(samples: list[Sample]) -> list[str]:
    """What did not stay flat, in words."""
    return [*_growing_processes(samples), *_growing_tables(samples)]


def _growing_processes(samples: list[Sample]) -> Iterator[str]:
    _, late = halves(samples)
    hours = (late[-1].seconds - late[0].seconds) / HOUR
    for measurement, slope in slopes(samples).items():
        name = measurement.partition(".")[2]
        if slope * hours > STILL_FLAT * late[0].memory_mib.get(name, 0.0):
            yield f"{name} grows: {slope:.1f} MiB an hour in the second half"


def _growing_tables(samples: list[Sample]) -> Iterator[str]:
    measurements = growth(samples)
    _, second = halves(samples)
    orders = second[-1].orders - second[0].orders
    for measurement, late in measurements.items():
        if not measurement.endswith(".second"):
            continue
        early = measurements.get(measurement.removesuffix("second") + "first", 0.0)
        pages = WHOLE_PAGES if measurement.startswith("bytes") else 0
        if (late - max(0.0, early) * STILL_LEVEL) * orders > pages:
            yield f"{measurement.removesuffix('.second')}: {early:.2f} in the first half, {late:.2f} in the second"
