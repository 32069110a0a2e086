"""Measure the running system (make run) from outside: orders a second, latencies, and what an order costs.

Figures of a shared machine vary from run to run: compare within one run, and look at the ratios. Ends with 1 when an
order did not end as it had to, or the audit found something.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tools.bench import report
from tools.bench.measure import Result, measure
from tools.bench.orders import USUAL_MIX, Outcome, parsed_mix
from tools.bench.report import Report
from tools.bench.scenarios import KNOWN, LONG, Pace, parsed
from tools.bench.session import Bench, Options, prepared
from tools.bench.target import running
from tools.local.place import Place
from tools.local.processes import StartFailed
from tools.migrate import MigrationFailed

MAXIMUM_FROM = "closed-64"


class Mix(click.ParamType):
    """Shares of the outcomes."""

    name = "mix"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[Outcome, int]:
        try:
            return parsed_mix(value) if isinstance(value, str) else value
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def chosen(only: str | None, everything: bool) -> list[str]:
    """Names of scenarios: a kind stands for all known ones of it. Raises ValueError."""
    if not only:
        return [name for name in KNOWN if everything or name not in LONG]
    words = [word.strip() for word in only.split(",")]
    return list(dict.fromkeys(name for word in words for name in _named(word)))


def _named(word: str) -> list[str]:
    return [name for name in KNOWN if parsed(name).kind == word] or [parsed(word).name]


def with_maximum(names: list[str], maximum: float | None) -> list[str]:
    """Open loops need to know what the system can do: before them something has to find out."""
    at = next((at for at, name in enumerate(names) if parsed(name).kind == "open"), None)
    if maximum or at is None or any(parsed(name).kind == "burst" or name == MAXIMUM_FROM for name in names[:at]):
        return names
    return [*names[:at], MAXIMUM_FROM, *(name for name in names[at:] if name != MAXIMUM_FROM)]


def found_maximum(report: Report) -> float:
    """The most orders a second that a burst or 64 clients had settled so far."""
    return max(
        report.spreads(name)["settled_per_second"].median or 0.0
        for name in report.results
        if name.startswith("burst") or name == MAXIMUM_FROM
    )


def play(bench: Bench, told: Report, name: str, run: int, maximum: float | None, seconds: dict[str, float]) -> Result:
    """One scenario, once."""
    scenario = parsed(name)
    rate = 0.0
    if scenario.kind == "open":
        rate = (maximum or found_maximum(told)) * scenario.number / 100
    result = measure(bench, scenario, f"{name}-run{run}", Pace(seconds.get(scenario.kind, 0.0), rate))
    return result


@click.command(help=__doc__)
@click.option("--only", help=f"some, by comma: a kind, or one of {', '.join(KNOWN)}; other numbers will do too")
@click.option("--all", "everything", is_flag=True, help="the long ones too")
@click.option("--runs", default=1, show_default=True, type=click.IntRange(1), help="how often each is played")
@click.option("--seconds", default=10.0, show_default=True, help="how long closed and open loops last")
@click.option("--no-wait-seconds", default=30.0, show_default=True, help="how long clients that don't wait order")
@click.option("--maximum", type=float, help="orders a second that open loops go by, instead of what was found")
@click.option("--mix", type=Mix(), default=USUAL_MIX, help="completed=85,no-money=5,sold-out=5,busy=5")
@click.option("--guests", default=50, show_default=True, type=click.IntRange(1), help="who order")
@click.option("--dishes", default=50, show_default=True, type=click.IntRange(1), help="what they order")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1), help="of bursts and open loops")
@click.option("--patience", default=600.0, show_default=True, help="seconds until all have to have ended")
@click.option("--json", "json_file", default="bench.json", show_default=True, type=click.Path(path_type=Path))
@click.option("--compare", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="an earlier JSON file")
def main(only: str | None, everything: bool, runs: int, seconds: float, no_wait_seconds: float, maximum: float | None,
         mix: dict[Outcome, int], guests: int, dishes: int, connections: int, patience: float, json_file: Path,
         compare: Path | None) -> None:  # fmt: skip
    """See the module's text."""
    try:
        names = with_maximum(chosen(only, everything), maximum)
        earlier = report.medians(compare) if compare else None
        lasts = {"closed": seconds, "open": seconds, "no-wait": no_wait_seconds}
        options = Options(guests, dishes, mix, connections, patience)
        with prepared(running(Place.from_environment()), options) as bench:
            told = Report(report.surroundings(bench.connection, {"seconds": lasts, "guests": guests}))
            for name in names:
                for run in range(runs):
                    click.echo(f"{name}, run {run + 1} of {runs}", err=True)
                    told.results.setdefault(name, []).append(play(bench, told, name, run, maximum, lasts))
    except (StartFailed, MigrationFailed, ValueError) as problem:
        raise SystemExit(f"bench: {problem}") from None
    finish(told, json_file, earlier, click.echo)


def finish(told: Report, path: Path, earlier: dict[str, report.Figures] | None, say: Callable[[str], object]) -> None:
    """Tell everything, and end with 1 when something was wrong."""
    report.write(told, path)
    for line in report.table(told, earlier):
        say(line)
    for problem in told.problems:
        say(f"error: {problem}")
    sys.exit(1 if told.problems else 0)


if __name__ == "__main__":
    main()
