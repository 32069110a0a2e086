"""How long orders take on Knative's broker and on ours, in one run; the table comes at the end of the tests."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.platforms.broker.plane import OnKnative
from tests.system import eventually
from tools.bench import DISH, LATENCIES, STOCK, Client

WARM_UP, ALONE, AT_ONCE = 20, 15, 100
HEADER = ("ingress", "dispatcher", "alone, p50 ms", "p95 ms", "at once, orders/s")


@dataclass(frozen=True)
class Figures:
    """Seconds from the acceptance to the mail, of orders one by one; and orders a second, of many at once."""

    ingress: str
    dispatcher: str
    latencies: list[float]
    rate: float

    @property
    def row(self) -> tuple[str, ...]:
        half, most = statistics.median(self.latencies), statistics.quantiles(self.latencies, n=20)[-1]
        return self.ingress, self.dispatcher, f"{half * 1000:.0f}", f"{most * 1000:.0f}", f"{self.rate:.0f}"


def measured(system: OnKnative, ingress: str, dispatcher: str) -> Figures:
    """Play the orders on the brokers named."""
    system.use(ingress, dispatcher)
    connection = system.sql.connected()
    try:
        connection.run(STOCK, dish=DISH)
        all_at_once(Client(system.gateway.base, connection), WARM_UP)
        latencies = one_by_one(Client(system.gateway.base, connection), ALONE)
        rate = all_at_once(Client(system.gateway.base, connection), AT_ONCE)
        return Figures(ingress, dispatcher, latencies, rate)
    finally:
        connection.close()


def one_by_one(client: Client, count: int) -> list[float]:
    for number in range(count):
        client.order(number)
        eventually(lambda number=number: client.told() > number, "the mail")
    return [float(seconds) for (seconds,) in client.connection.run(LATENCIES, username=client.name)]


def all_at_once(client: Client, count: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(client.order, range(count)))
    eventually(lambda: client.told() == count, "all mails", 120)
    return count / (time.perf_counter() - began)


def table(figures: list[Figures]) -> Iterator[str]:
    """The lines of the table."""
    rows = [HEADER, *(each.row for each in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
