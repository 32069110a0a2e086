"""What is played, in which order, and how often; every result goes into the report."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.bench import million
from tools.bench.cold_start import cold_starts
from tools.bench.measure import Result, audited, measure
from tools.bench.report import Report, ratio
from tools.bench.scenarios import KNOWN, Pace, parsed
from tools.bench.session import Bench
from tools.bench.soak import EVERY, SHARE, soak

COLD_START = "cold-start"
MAXIMUM_FROM = "closed-64"
LONG = ("burst-20000", "closed-4")
ALL = (*KNOWN, COLD_START)


@dataclass(frozen=True)
class Wishes:
    """How often and how long; `maximum` is given, or None to find it out."""

    runs: int = 1
    seconds: float = 10
    no_wait_seconds: float = 30
    maximum: float | None = None
    turns: int = 5
    every_function: bool = False

    def lasts(self, kind: str) -> float:
        return self.no_wait_seconds if kind == "no-wait" else self.seconds


def chosen(only: str | None, everything: bool) -> list[str]:
    """Names of scenarios: a kind stands for all known ones of it. Raises ValueError."""
    if not only:
        return [name for name in ALL if everything or name not in LONG]
    words = [word.strip() for word in only.split(",")]
    return list(dict.fromkeys(name for word in words for name in _named(word)))


def _named(word: str) -> list[str]:
    return [name for name in ALL if name.rpartition("-")[0] == word or name == word] or [parsed(word).name]


def with_maximum(names: list[str]) -> list[str]:
    """Open loops need to know what the system can do: before them something has to find out."""
    at = next((at for at, name in enumerate(names) if name.startswith("open-")), len(names))
    if at == len(names) or any(_finds_maximum(name) for name in names[:at]):
        return names
    return [*names[:at], MAXIMUM_FROM, *(name for name in names[at:] if name != MAXIMUM_FROM)]


def _finds_maximum(label: str) -> bool:
    return label.startswith("burst-") or label.split()[0] == MAXIMUM_FROM


@dataclass(frozen=True)
class Course:
    """One command's work."""

    bench: Bench
    report: Report
    wishes: Wishes
    say: Callable[[str], object]

    def play(self, name: str, label: str | None = None) -> None:
        """A scenario, as often as wished."""
        label = label or name
        for run in range(self.wishes.runs):
            self.say(f"{label}, run {run + 1} of {self.wishes.runs}")
            self.report.add(label, self._caught(name, f"{label.replace(' ', '')}-run{run}"))

    def _caught(self, name: str, tag: str) -> Result:
        """Whatever goes wrong, what was measured before is reported, and what comes after is measured."""
        try:
            return self._once(name, tag)
        except Exception as problem:
            return Result({}, [f"{type(problem).__name__}: {problem}"])

    def _once(self, name: str, tag: str) -> Result:
        if name == COLD_START:
            return cold_starts(self.bench.target, self.wishes.every_function, self.wishes.turns)
        scenario = parsed(name)
        rate = self.maximum * scenario.number / 100 if scenario.kind == "open" else 0.0
        return measure(self.bench, scenario, tag, Pace(self.wishes.lasts(scenario.kind), rate))

    @property
    def maximum(self) -> float:
        """The most orders a second that a burst or 64 clients had settled so far."""
        return self.wishes.maximum or max(map(self._rate, filter(_finds_maximum, self.report.results)))

    def soak(self, minutes: float, every: float = EVERY) -> None:
        """A steady rate for long."""
        if not self.wishes.maximum and not any(map(_finds_maximum, self.report.results)):
            self.play(MAXIMUM_FROM)
        self.say(f"soak, {minutes:g} minutes")
        self.report.add("soak", soak(self.bench, "soak", self.maximum * SHARE / 100, minutes, every))

    def with_and_without(self, names: list[str], count: int) -> None:
        """The same before and after the tables are filled."""
        there = million.filled(self.bench.connection)
        if there != count:
            self._beside(names, there)
            self.say(f"filling the tables with {count} ended orders")
            million.fill(self.bench.connection, count)
        self._beside(names, count)
        self.report.problems += audited(self.bench.connection)
        if there != count:
            self._compare(names, there, count)

    def _beside(self, names: list[str], count: int) -> None:
        for name in names:
            self.play(name, _beside(name, count))

    def _compare(self, names: list[str], *counts: int) -> None:
        for name in names:
            before, after = (self._rate(_beside(name, count)) for count in counts)
            text = f"{name}: {before:.1f} settled a second beside {counts[0]} ended orders, {after:.1f}"
            self.report.notes.append(f"{text} beside {counts[1]}: {ratio(after, before)}")

    def _rate(self, label: str) -> float:
        spread = self.report.spreads(label).get("settled_per_second")
        return (spread and spread.median) or 0.0


def _beside(name: str, count: int) -> str:
    return f"{name} beside {count}"
