"""Measure the running system (make run) from outside: orders a second, latencies, and what an order costs.

Measurements of a shared machine vary from run to run: compare within one run, and look at the ratios.
Ends with 1 when an order did not end as it had to, or the audit found something.
"""

import sys
from pathlib import Path
from typing import Any

import click

from tools.bench import report
from tools.bench.course import ALL, Course, Wishes, chosen, with_maximum
from tools.bench.orders import USUAL_MIX, Outcome, parsed_mix
from tools.bench.report import Report
from tools.bench.session import Options, prepared
from tools.bench.target import running
from tools.local.installation import Installation
from tools.local.processes import StartFailed
from tools.migrate import MigrationFailed

BESIDE_MANY = "burst-2000"
JSON_FILE = click.Path(dir_okay=False, path_type=Path)


class Mix(click.ParamType):
    """Shares of the outcomes."""

    name = "mix"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[Outcome, int]:
        try:
            return parsed_mix(value) if isinstance(value, str) else value
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


@click.command(help=__doc__)
@click.option("--only", help=f"some, by comma: kinds, or of {', '.join(ALL)}; with other numbers too")
@click.option("--all", "everything", is_flag=True, help="the long ones too, and the cold start of every function")
@click.option("--soak", type=float, metavar="MINUTES", help="70 % of the maximum for so long: what grows?")
@click.option("--ended", type=click.IntRange(0), help="beside so many ended orders, which are made, or taken away")
@click.option("--runs", default=1, show_default=True, type=click.IntRange(1), help="how often each is played")
@click.option("--seconds", default=10.0, show_default=True, help="of closed and open loops")
@click.option("--no-wait-seconds", default=30.0, show_default=True, help="of clients that don't wait")
@click.option("--maximum", type=float, help="orders a second that open loops go by, instead of what was found")
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1), help="cold starts of a function")
@click.option("--mix", type=Mix(), default=USUAL_MIX, help="completed=85,no-money=5,sold-out=5,busy=5")
@click.option("--guests", default=50, show_default=True, type=click.IntRange(1), help="who order")
@click.option("--dishes", default=50, show_default=True, type=click.IntRange(1), help="what they order")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1), help="of bursts and open loops")
@click.option("--patience", default=600.0, show_default=True, help="seconds until all have to have ended")
@click.option("--json", "json_file", default=Path("bench.json"), show_default=True, type=JSON_FILE)
@click.option("--compare", type=JSON_FILE, help="the JSON file of an earlier run")
def main(json_file: Path, compare: Path | None, **options: Any) -> None:
    """See the module's text."""
    try:
        earlier = report.medians(compare) if compare else None
        found = measured(**options)
    except (StartFailed, MigrationFailed, ValueError, OSError) as problem:
        raise SystemExit(f"bench: {problem}") from None
    report.write(found, json_file)
    for line in report.lines(found, earlier):
        click.echo(line)
    sys.exit(1 if found.problems else 0)


def measured(only: str | None, everything: bool, soak: float | None, ended: int | None, **options: Any) -> Report:
    """Play what was asked for. Raises StartFailed, ValueError."""
    wishes = Wishes(every_function=everything, **{name: options.pop(name) for name in WISHES})
    names = _names(only, everything, soak, ended)
    names = names if wishes.maximum else with_maximum(names)
    with prepared(running(Installation.from_environment()), Options(**options)) as bench:
        found = Report(report.environment(bench.connection))
        course = Course(bench, found, wishes, lambda text: click.echo(text, err=True))
        if ended is not None:
            course.with_and_without(names, ended)
        else:
            for name in names:
                course.play(name)
        if soak:
            course.soak(soak)
    return found


WISHES = ("runs", "seconds", "no_wait_seconds", "maximum", "turns")


def _names(only: str | None, everything: bool, soak: float | None, ended: int | None) -> list[str]:
    """What is long by itself is played alone, unless something else is asked for too."""
    if only or everything:
        return chosen(only, everything)
    if ended is not None:
        return [BESIDE_MANY]
    return [] if soak else chosen(None, False)


if __name__ == "__main__":
    main()
