"""Measure the same orders on other engines and on our running system (make run), in turns on the same PostgreSQL.

Each peer runs the saga as its own documentation teaches it, with our statements on our tables, in one process,
without login, gateway or broker; ours goes the whole way through the public gateway. Measurements of a shared machine
vary: compare within one run, and look at the ratios.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

import click

from tests.peers import engines, programs
from tests.peers.engines import Engine
from tests.peers.measure import Measurements, Run
from tests.peers.storehouse import Storehouse
from tools.bench.target import Target, running
from tools.local.installation import Installation
from tools.local.processes import StartFailed
from tools.migrate import MigrationFailed, connected

ALL = ("dbos-transactions", "dbos-plain", "restate", "ours")
HEAD = f"{'':20}{'orders':>8}{'settled/s':>11}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>8}{'app MiB':>9}{'server MiB':>12}"


def opened(name: str, target: Target, storehouse: Storehouse) -> AbstractContextManager[Engine]:
    """The engine of that name, running within the block."""
    known: dict[str, Callable[[], AbstractContextManager[Engine]]] = {
        "dbos-transactions": partial(engines.dbos, "transactions", storehouse),
        "dbos-plain": partial(engines.dbos, "plain", storehouse),
        "restate": partial(engines.restate, storehouse),
        "ours": partial(engines.ours, target, storehouse),
    }
    return known[name]()


@contextmanager
def at_work(name: str, target: Target, storehouse: Storehouse, postgres: int) -> Iterator[Run]:
    """An engine, started, with connections to its database."""
    with (
        opened(name, target, storehouse) as engine,
        connected(engine.database) as database,
        connected(engine.database) as watching,
    ):
        yield Run(engine, database, watching, postgres)


def measured(names: list[str], clients: list[int], orders: int, seconds: float, turns: int) -> Iterator[Measurements]:
    """Every measurement, engine after engine, so many turns. Raises StartFailed."""
    installation = Installation.from_environment()
    target = running(installation)
    postgres = target.processes.get("PostgreSQL")
    if not postgres:
        raise StartFailed("expected PostgreSQL on this machine, under make run: its processor time is counted")
    storehouse = Storehouse(installation, target.database)
    for _ in range(turns):
        for name in tuple(names):
            try:
                with at_work(name, target, storehouse, postgres) as run:
                    yield from (run.closed(count, seconds) for count in clients)
                    if orders:
                        yield run.burst(orders)
            except programs.Missing as problem:
                click.echo(f"peers: {name} is left out: {problem}", err=True)
                names.remove(name)


def line(label: str, measurements: list[Measurements]) -> str:
    """The medians of all turns of one engine in one scenario."""

    def middle(of: Callable[[Measurements], float]) -> float:
        return median(map(of, measurements))

    return (
        f"{label:20}{middle(lambda f: f.orders):8.0f}{middle(lambda f: f.settled_per_second):11.1f}"
        f"{middle(lambda f: f.p50_ms):9.1f}{middle(lambda f: f.p99_ms):9.1f}{middle(lambda f: f.cpu_ms):8.1f}"
        f"{middle(lambda f: f.memory_mib.get('app', 0)):9.0f}{middle(lambda f: f.memory_mib.get('server', 0)):12.0f}"
    )


def table(found: list[Measurements]) -> Iterator[str]:
    """A part for each scenario, a line for each engine."""
    for scenario in dict.fromkeys(measurements.scenario for measurements in found):
        yield f"{scenario:20}" + HEAD[20:]
        for name in ALL:
            if these := [one for one in found if (one.engine, one.scenario) == (name, scenario)]:
                yield line(f"  {name}", these)


def _names(only: str | None) -> list[str]:
    """`dbos` alone means both ways of writing it."""
    asked = only.split(",") if only else ALL
    chosen = [name for name in ALL if name in asked or name.partition("-")[0] in asked]
    if unknown := {each for each in asked if not any(name == each or name.startswith(f"{each}-") for name in ALL)}:
        raise click.BadParameter(f"expected some of {', '.join(ALL)}; got {', '.join(sorted(unknown))}")
    return chosen


@click.command(help=__doc__)
@click.option("--only", help=f"some, by comma, of {', '.join(ALL)}")
@click.option("--clients", default="1,8,16", show_default=True, help="of the closed loops, by comma")
@click.option("--orders", default=2000, show_default=True, type=click.IntRange(0), help="of the burst; 0: none")
@click.option("--seconds", default=8.0, show_default=True, help="of each closed loop")
@click.option("--turns", default=2, show_default=True, type=click.IntRange(1), help="how often each engine comes on")
@click.option("--json", "json_file", default="bench-peers.json", show_default=True, type=Path)
def main(only: str | None, clients: str, orders: int, seconds: float, turns: int, json_file: Path) -> None:
    """See the module's text."""
    counts = [int(count) for count in clients.split(",")]
    found: list[Measurements] = []
    try:
        programs.folder().mkdir(parents=True, exist_ok=True)
        for measurements in measured(_names(only), counts, orders, seconds, turns):
            click.echo(line(f"{measurements.engine} {measurements.scenario}"[:19], [measurements]), err=True)
            found.append(measurements)
    except (StartFailed, MigrationFailed, OSError) as problem:
        raise SystemExit(f"peers: {problem}") from None
    finally:
        report = [asdict(measurements) for measurements in found]
        json_file.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    for text in table(found):
        click.echo(text)
    problems = [f"{one.engine}, {one.scenario}: {problem}" for one in found for problem in one.problems]
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
