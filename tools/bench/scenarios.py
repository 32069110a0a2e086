"""The ways in which orders come: all at once, each after the last has ended, without waiting, at a given rate."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from tools.bench.client import Connection
from tools.bench.load import Load
from tools.bench.orders import Order

# Seconds between two looks at open orders. Every 2 ms they took 3 ms of CPU an order from an order that is alone.
OFTEN, SELDOM = 0.005, 0.02
KNOWN = ("burst-2000", "burst-20000", *(f"closed-{n}" for n in (1, 4, 16, 64)), "no-wait-64", "open-50", "open-90")
NAME = re.compile(r"(burst|closed|no-wait|open)-([1-9]\d*)")


@dataclass(frozen=True)
class Scenario:
    """A kind, and its number: orders, clients, or the share of the maximum in percent."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def looks_every(self) -> float:
        """Seconds between two looks at what has ended; often, where clients wait for it."""
        return OFTEN if self.kind == "closed" else SELDOM

    def connections(self, usual: int) -> int:
        return self.number if self.kind in {"closed", "no-wait"} else usual


@dataclass(frozen=True)
class Pace:
    """How long a scenario that has no number of orders lasts, and, for open loops, how many orders come a second."""

    seconds: float
    rate: float = 0.0


def parsed(name: str) -> Scenario:
    """A scenario by its name; any number will do. Raises ValueError."""
    if not (found := NAME.fullmatch(name)):
        raise ValueError(f"expected burst-N, closed-N, no-wait-N or open-N; got {name}")
    return Scenario(found[1], int(found[2]))


async def play(scenario: Scenario, load: Load, pace: Pace) -> None:
    """Send the orders, and wait until all that were accepted have ended."""
    load.watch.every = scenario.looks_every
    await PLAYS[scenario.kind](scenario, load, pace)


async def burst(scenario: Scenario, load: Load, _: Pace) -> None:
    """As fast as the connections can."""
    orders = iter([load.book.next() for _ in range(scenario.number)])
    await _on_each(load, lambda connection: _send_all(load, connection, orders))


async def _send_all(load: Load, connection: Connection, orders: Iterator[Order]) -> None:
    for order in orders:
        await load.place(connection, order)


async def closed(_: Scenario, load: Load, pace: Pace) -> None:
    """Each client orders again when its order has ended."""
    until = time.time() + pace.seconds

    async def client(connection: Connection) -> None:
        while time.time() < until:
            if sent := await load.place(connection, load.book.next()):
                await load.ended(sent)

    await _on_each(load, client)


async def no_wait(_: Scenario, load: Load, pace: Pace) -> None:
    """Each client orders again as soon as it has its answer."""
    until = time.time() + pace.seconds

    async def client(connection: Connection) -> None:
        while time.time() < until:
            await load.place(connection, load.book.next())

    await _on_each(load, client)


async def opened(_: Scenario, load: Load, pace: Pace) -> None:
    """Orders come when they come, whether the system is ready or not: what is late counts from its intended time."""
    arrivals: asyncio.Queue[float | None] = asyncio.Queue()

    async def client(connection: Connection) -> None:
        while (intended := await arrivals.get()) is not None:
            await load.place(connection, load.book.next(), intended)

    async def arrive() -> None:
        for intended in arrival_times(pace):
            await asyncio.sleep(max(0.0, intended - time.time()))
            arrivals.put_nowait(intended)
        for _ in load.connections:
            arrivals.put_nowait(None)

    await asyncio.gather(arrive(), _on_each(load, client))


def arrival_times(pace: Pace) -> Iterator[float]:
    """Random arrivals (Poisson), the same ones in each run."""
    chance = random.Random(2)
    now = time.time()
    until = now + pace.seconds
    while (now := now + chance.expovariate(pace.rate)) < until:
        yield now


async def _on_each(load: Load, client: Callable[[Connection], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for connection in load.connections:
            group.create_task(client(connection))


PLAYS = {"burst": burst, "closed": closed, "no-wait": no_wait, "open": opened}
