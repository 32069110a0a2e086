"""Everything that could come in: `make fuzz inputs=100000 seed=7`.

Schemathesis sends what OpenAPI allows and forbids, Hypothesis bodies that are nearly right, events in every mode,
requests in pieces, in chunks, in pipelines, and what is no HTTP at all; to the gateway, the ingress and the steps.
After each input a watchdog looks what it cost every process; after each hundred the tables are compared.

It is a finding when an answer is one that OpenAPI does not know or says that something is wrong with the system, when
an answer costs more than a second of processor time or 64 MiB, when a process ends or tells of an unforeseen error,
when what was refused has changed a row, or when the audit finds something at the end. Ends with 1 then. The seed
gives the same inputs again; each finding is printed with the part and the number under which it came.
"""

import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import click
import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from tests.fuzz import inputs
from tests.fuzz.api import Api, Case, sender
from tests.fuzz.inputs import Input
from tests.fuzz.judge import changes_nothing, problems
from tests.fuzz.watchdog import Cost
from tests.fuzz.wire import NoAnswer, exchange, statuses
from tests.fuzz.world import World, running
from tools.audit import findings

WINDOW = 100
MOST_CPU = 1.0  # seconds
MOST_MEMORY = 64.0  # MiB
MOST_GROWTH = 96.0  # MiB, of a process from the first input to the last
SHOWN = 600
ENOUGH = 40

# How often each part comes.
PARTS = ["calls", "steps", "strangers", "allowed", "events", "forbidden", "pipelines", "broken", "calls", "strangers"]


@dataclass
class Report:
    """What was sent and what came of it."""

    sent: Counter = field(default_factory=Counter)
    answers: Counter = field(default_factory=Counter)
    costs: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))
    found: Counter = field(default_factory=Counter)
    compared: int = 0

    def finding(self, part: str, number: int, what: str, given: str = "") -> None:
        """Print it, the first time that it comes."""
        kind = f"{part}: {what[:160]}"
        self.found[kind] += 1
        if self.found[kind] == 1 and len(self.found) <= ENOUGH:
            _say(f"FOUND in {part} {number}: {what}" + (f"\n  {given}" if given else ""))

    def count(self, part: str, cost: Cost, answered: list[int]) -> None:
        """One input more."""
        self.sent[part] += 1
        self.answers.update(answered or ["none"])
        known = self.costs[part]
        self.costs[part] = Cost(max(known.cpu, cost.cpu), max(known.memory, cost.memory))


class Fuzzer:
    """Sends windows of inputs, each of one part."""

    def __init__(self, world: World, seed: int):
        self.world, self.seed, self.report = world, seed, Report()
        self._api = Api()
        self._send_case = sender(world.system.gateway.base, world.bearer, world.admin)
        self._content = world.quiet_content()
        self._pure = True

    def run(self, wanted: int) -> None:
        """Send at least so many inputs."""
        number = 0
        while sum(self.report.sent.values()) < wanted and not self.world.watchdog.ended():
            part = PARTS[number % len(PARTS)]
            left = wanted - sum(self.report.sent.values())
            self._window(part, number, min(WINDOW, max(left, 10)))
            number += 1
            if number % 20 == 0:
                _say(f"{sum(self.report.sent.values())} inputs, {len(self.report.found)} findings")

    def _window(self, part: str, number: int, size: int) -> None:
        self._pure = True
        strategy, work = self._part(part, number)

        # Nothing is kept, shrunk or timed: a window is what its seed says, and it always goes to its end.
        @hypothesis.seed(self.seed * 1_000_003 + number)
        @hypothesis.settings(
            max_examples=size, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
        )  # fmt: skip
        @hypothesis.given(strategy)
        def send(given: Any) -> None:
            work(part, number, given)

        # Of some methods there is nothing that they forbid.
        with suppress(hypothesis.errors.Unsatisfiable):
            send()
        self._look_after(part, number)

    def _part(self, part: str, number: int) -> tuple[st.SearchStrategy, Callable[[str, int, Any], None]]:
        if part in ("allowed", "forbidden"):
            # Each method in its turn, whichever windows are theirs.
            turn = number // len(PARTS) * PARTS.count(part) + PARTS[: number % len(PARTS)].count(part)
            return self._api.cases(turn, part == "forbidden"), self._case
        target = ["gateway", "ingress"][number // len(PARTS) % 2]
        strategies = {
            "calls": inputs.calls,
            "strangers": partial(inputs.calls, strangers=True),
            "steps": inputs.steps,
            "events": partial(inputs.events, "ingress", "/", inputs.TYPES),
            "pipelines": partial(inputs.pipelines, target),
            "broken": partial(inputs.broken, target),
        }
        return strategies[part](), self._input

    def _case(self, part: str, number: int, case: Case) -> None:
        heard: list[tuple[int, list[str]]] = []
        cost = self._measured(part, number, lambda: heard.append(self._send_case(case)))
        for status, wrong in heard:
            self.report.count(part, cost, [status])
            self._pure = self._pure and (status >= 400 or case.path.endswith(inputs.READS) or case.method == "GET")
            for problem in wrong:
                self.report.finding(part, number, f"{case.method} {case.path}: {problem}", _case_text(case))
            self._judge_cost(part, number, cost, _case_text(case))

    def _input(self, part: str, number: int, given: Input) -> None:
        shown = f"to {given.target}, {len(given.data)} bytes: {given.data[:SHOWN]!r}"
        heard: list[bytes] = []

        def send() -> None:
            try:
                heard.append(exchange(self._base(given.target), given, self.world.placeholders))
            except NoAnswer:
                self.report.finding(part, number, "no answer", shown)
            except OSError as problem:
                self.report.finding(part, number, f"no connection: {problem}", shown)

        cost = self._measured(part, number, send)
        answered = statuses(heard[0]) if heard else []
        self.report.count(part, cost, answered)
        self._pure = self._pure and changes_nothing(given, answered)
        for problem in problems(given, answered, heard[0]) if heard else []:
            text = heard[0][:300].decode(errors="replace")
            self.report.finding(part, number, problem, f"{shown}\n  answered: {text!r}")
        self._judge_cost(part, number, cost, shown)

    def _base(self, target: str) -> str:
        if target in ("gateway", "ingress"):
            return (self.world.system.gateway if target == "gateway" else self.world.system.broker).base
        return self.world.system.function(target).base

    def _measured(self, part: str, number: int, work: Callable[[], None]) -> Cost:
        try:
            return self.world.watchdog.cost_of(work)
        except OSError:
            self.report.finding(part, number, f"ended: {', '.join(self.world.watchdog.ended())}")
            return Cost()

    def _judge_cost(self, part: str, number: int, cost: Cost, shown: str) -> None:
        if cost.cpu > MOST_CPU:
            self.report.finding(part, number, "more than a second of processor time", f"{cost.cpu:.2f} s {shown}")
        if cost.memory > MOST_MEMORY:
            self.report.finding(part, number, "more than 64 MiB", f"{cost.memory:.0f} MiB {shown}")

    def _look_after(self, part: str, number: int) -> None:
        for name in self.world.watchdog.ended():
            self.report.finding(part, number, f"{name} has ended")
        for line in self.world.errors():
            self.report.finding(part, number, f"an unforeseen error: {line}")
        if not self._pure:
            self._content = self.world.quiet_content()
            return
        before, self._content = self._content, self.world.content()
        self.report.compared += 1
        for name in (name for name in before if before[name] != self._content[name]):
            self.report.finding(part, number, f"what was refused has changed {name}")

    def conclude(self) -> None:
        """The audit, and what the processes have kept of it all."""
        self.world.quiet_content()
        connection = self.world.system.sql.connected()
        try:
            for finding in findings(connection):
                # Events of orders that nobody has accepted were sent as well: what they did is theirs alone.
                if {*inputs.ORDERS, inputs.EATER}.isdisjoint(map(str, finding.row.values())):
                    self.report.finding("audit", 0, f"{finding.check}: {finding}")
        finally:
            connection.close()
        if not self.world.watchdog.ended():
            for name, grown in self.world.watchdog.grown().items():
                if grown > MOST_GROWTH:
                    self.report.finding("memory", 0, f"{name} has grown by {grown:.0f} MiB")


def _case_text(case: Case) -> str:
    return f"{case.method} {case.path} {case.path_parameters} {case.query} {case.body!r}"[:SHOWN]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _lines(report: Report, seconds: float) -> Iterator[str]:
    total = sum(report.sent.values())
    yield f"{total} inputs in {seconds:.0f} s; tables compared {report.compared} times after refusals alone"
    for part, count in sorted(report.sent.items()):
        cost = report.costs[part]
        yield f"  {part:<10} {count:>7}  at most {cost.cpu:.2f} s of processor time, {cost.memory:.0f} MiB"
    yield "answers: " + ", ".join(f"{status}: {count}" for status, count in sorted(report.answers.items(), key=str))
    yield from (f"FOUND {count} times: {kind}" for kind, count in report.found.items())
    yield f"{len(report.found)} findings"


@click.command(help=__doc__)
@click.option("--inputs", "wanted", default=2000, show_default=True, type=click.IntRange(1), help="how many are sent")
@click.option("--seed", type=int, help="decides all inputs; one by chance, which is printed, if not given")
@click.option("--keep", is_flag=True, help="keep the logs, and print where they are")
def main(wanted: int, seed: int | None, keep: bool) -> None:
    """See the module's text."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    _say(f"inputs={wanted} seed={seed}")
    with running(keep) as world:
        fuzzer, began = Fuzzer(world, seed), time.monotonic()
        fuzzer.run(wanted)
        fuzzer.conclude()
        seconds = time.monotonic() - began
    _say("\n".join(_lines(fuzzer.report, seconds)))
    sys.exit(1 if fuzzer.report.found else 0)


if __name__ == "__main__":
    main()
