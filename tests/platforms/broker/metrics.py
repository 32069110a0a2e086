"""How long orders take on Knative's broker and on ours, in one run; the table comes at the end of the tests."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.platforms.broker.plane import OnKnative
from tools.bench.measure import Measurements, measure
from tools.bench.scenarios import Pace, parsed
from tools.bench.session import Bench, Options, prepared
from tools.bench.target import Target

WARM_UP, ALONE, AT_ONCE = "burst-20", "closed-1", "burst-100"
PACE = Pace(seconds=3)
HEADER = ("ingress", "dispatcher", "alone, p50 ms", "p95 ms", "at once, orders/s")


@dataclass(frozen=True)
class Metrics:
    """Milliseconds from the acceptance to the mail, of orders one by one; and orders a second, of many at once."""

    ingress: str
    dispatcher: str
    half: float
    most: float
    rate: float

    @property
    def row(self) -> tuple[str, ...]:
        return self.ingress, self.dispatcher, f"{self.half:.0f}", f"{self.most:.0f}", f"{self.rate:.0f}"


def measured(system: OnKnative, ingress: str, dispatcher: str) -> Metrics:
    """Play the orders on the brokers named."""
    system.use(ingress, dispatcher)
    target = Target(system.gateway.base, system.database_url, {})
    with prepared(target, Options(guests=4, connections=16)) as bench:
        _, alone, many = (played(bench, name) for name in (WARM_UP, ALONE, AT_ONCE))
    return Metrics(ingress, dispatcher, alone["total_ms.p50"], alone["total_ms.p95"], many["settled_per_second"])


def played(bench: Bench, name: str) -> Measurements:
    result = measure(bench, parsed(name), name, PACE)
    assert result.problems == []
    return result.measurements


def table(metrics: list[Metrics]) -> Iterator[str]:
    """The lines of the table."""
    rows = [HEADER, *(each.row for each in metrics)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
