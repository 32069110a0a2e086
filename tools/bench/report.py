"""The report: a table of all scenarios for people, and the same measurements as JSON for the next comparison."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pg8000.native import Connection

from tools.bench.measure import Measurements, Result
from tools.local.environment import ROOT
from tools.local.rabbitmq import find_server

MISSING = "not available"
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")


@dataclass(frozen=True)
class Spread:
    """A measurement over all runs of a scenario; None where no run had it."""

    median: float | None
    min: float | None
    max: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread":
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known)) if known else cls(None, None, None)


@dataclass
class Report:
    """Environment, and for each scenario the results of its runs."""

    environment: dict[str, Any]
    results: dict[str, list[Result]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, scenario: str, result: Result) -> None:
        """One run more."""
        self.results.setdefault(scenario, []).append(result)
        self.notes += [f"{scenario}: {text}" for text in result.notes]
        self.problems += [f"{scenario}: {text}" for text in result.problems]

    def spreads(self, scenario: str) -> dict[str, Spread]:
        runs = self.results[scenario]
        names = dict.fromkeys(name for run in runs for name in run.measurements)
        return {name: Spread.of(run.measurements.get(name) for run in runs) for name in names}

    def as_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "scenarios": {name: self._scenario(name, runs) for name, runs in self.results.items()},
            "notes": self.notes,
            "problems": self.problems,
        }

    def _scenario(self, name: str, runs: list[Result]) -> dict[str, Any]:
        return {
            "measurements": {measurement: vars(spread) for measurement, spread in self.spreads(name).items()},
            "runs": [vars(run) for run in runs],
        }


def lines(report: Report, earlier: dict[str, Measurements] | None = None) -> Iterator[str]:
    """All that there is to read: where and when, the table, and what was wrong."""
    for name, value in report.environment.items():
        yield f"{name}: {value if not isinstance(value, dict) else ', '.join(f'{k} {v}' for k, v in value.items())}"
    yield ""
    yield from table(report, earlier)
    yield from (f"note: {text}" for text in report.notes)
    yield from (f"error: {text}" for text in report.problems)


def write(report: Report, path: Path) -> None:
    path.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")


def medians(path: Path) -> dict[str, Measurements]:
    """The measurements of an earlier report, by scenario."""
    scenarios = json.loads(path.read_text())["scenarios"]
    return {
        scenario: {name: spread["median"] for name, spread in parts["measurements"].items()}
        for scenario, parts in scenarios.items()
    }


def table(report: Report, earlier: dict[str, Measurements] | None = None) -> Iterator[str]:
    """A row for each measurement, a column for each scenario: median, range, and ratio to an earlier one."""
    spreads = {name: report.spreads(name) for name in report.results}
    before = {name: (earlier or {}).get(name, {}) for name in spreads}
    measurements = dict.fromkeys(measurement for column in spreads.values() for measurement in column)
    rows = [
        [measurement, *(_cell(spreads[name].get(measurement), before[name].get(measurement)) for name in spreads)]
        for measurement in measurements
    ]
    yield from aligned([["", *spreads], *rows])


def _cell(spread: Spread | None, before: float | None) -> str:
    if spread is None:
        return ""
    if spread.median is None:
        return MISSING
    text = shown(spread.median)
    if spread.min != spread.max:
        text += f" [{shown(spread.min)}..{shown(spread.max)}]"
    return text if before is None else f"{text} {ratio(spread.median, before)}"


def ratio(now: float, before: float) -> str:
    """How many times as much."""
    return f"x{now / before:.2f}" if before else "x1.00" if not now else "x-"


def shown(value: float) -> str:
    """Three digits that matter, and no more."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 or value == int(value) else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def aligned(rows: list[list[str]]) -> Iterator[str]:
    """Columns of equal width, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def environment(connection: Connection) -> dict[str, Any]:
    """When and where this was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "rabbitmq": _rabbitmq_version(),
        "postgres": {name: connection.run(f"SHOW {name}")[0][0] for name in SETTINGS},
        "command": " ".join(sys.argv[1:]),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else MISSING


def _rabbitmq_version() -> str:
    """As the distribution's package has it."""
    asked = ["dpkg-query", "--show", "--showformat=${Version}", "rabbitmq-server"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return find_server().parts[-3]
