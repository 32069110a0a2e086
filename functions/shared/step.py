"""The saga step: one event in, the event that comes next out.

A step is written for one event:

    @step
    def withdraw(order: Withdraw, db: Decisions) -> ConfirmSale: ...

Its annotations are the contract: the model of the event that comes in, the models that may go out. What it decides is
one statement, which looks for the decision, makes it where there is none, and returns it: so a repeated event finds
what was decided and gets the same answer. A step that decides nothing takes no `Decisions` and touches no database.
"""

import time
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from logging import INFO
from pathlib import Path
from typing import Any

from cloudevents.http import CloudEvent
from pydantic import BaseModel, ValidationError

from functions.shared import database, events, installation
from functions.shared.answers import Answer, json_answer
from functions.shared.decisions import Decisions, alone, together
from functions.shared.errors import FAILED, NotYet, trouble_of
from functions.shared.request import Request, TooLarge
from functions.shared.settings import DatabaseSettings, require
from functions.shared.telemetry import traces
from functions.shared.telemetry.instrumented import deployed_name, instrumented
from functions.shared.telemetry.logs import log, milliseconds_since
from functions.shared.telemetry.metrics import Counter, Declared
from functions.shared.validation_errors import explain

# What the ingress takes; a batch with more goes one by one.
LARGEST_BODY = 1024 * 1024
# Others may be faster more than once, where many orders want the same: the last courier of an hour, for example.
BEATEN_AT_MOST = 5

EVENTS = Counter("function_events", "Events by what came of them", ["function", "type", "outcome"])
OUTCOMES = ("done", "not_yet", "not_now", "failed", "never")

Unacceptable = events.Unacceptable


@dataclass(frozen=True)
class Contract:
    """What a step takes and gives, read off its annotations."""

    name: str
    source: str
    takes: type[BaseModel]
    gives: tuple[type[BaseModel], ...]
    decides: bool

    @classmethod
    def of(cls, function: Callable) -> "Contract":
        """Read the contract of a function of the form (event data, decisions) -> next event's data."""
        hints = typing.get_type_hints(function)
        gives = hints.pop("return", None)
        united = typing.get_args(gives) if isinstance(gives, types.UnionType) else (gives,)
        taken = next(hint for hint in hints.values() if hint is not Decisions)
        path = Path(function.__code__.co_filename)
        return cls(
            name=function.__name__,
            source=f"/{path.parent.name}/{path.stem}",
            takes=taken,
            gives=tuple(model for model in united if model not in (None, types.NoneType)),
            decides=Decisions in hints.values(),
        )

    def read(self, event: CloudEvent) -> BaseModel:
        """The event's data as this step's model. Raises events.Unacceptable."""
        expected, attributes = self.takes.event_type, event.get_attributes()
        if attributes["type"] != expected:
            raise events.Unacceptable(f"type: expected {expected}, got {attributes['type']}")
        try:
            data = self.takes.model_validate(event.data)
        except ValidationError as problem:
            raise events.Unacceptable(f"data of {attributes['id']}: {explain(problem, hide=('email',))}") from None
        if attributes.get("subject") not in (None, data.subject):
            got = str(attributes["subject"])[:80]
            raise events.Unacceptable(f"subject: expected {data.subject} as in data, got {got}")
        event["subject"] = data.subject
        return data

    def follow(self, cause: CloudEvent, data: BaseModel) -> CloudEvent:
        """The event that comes next; its id is derived from its cause."""
        attributes = cause.get_attributes()
        return events.make(
            type=data.event_type,
            source=self.source,
            id=events.derived_id(attributes["source"], attributes["id"], data.event_type),
            subject=data.subject,
            causation=attributes["id"],
            data=data.model_dump(by_alias=True, mode="python"),
        )


def step(function: Callable) -> Callable[[Request], Answer]:
    """Make a saga step out of `function`; see the module's text for its form."""
    contract = Contract.of(function)
    if contract.decides:
        require(DatabaseSettings)
    # All at once, at zero: the first event of its kind would not show as an increase otherwise.
    name = deployed_name(function)
    counts = {outcome: EVENTS.child(name, contract.takes.event_type, outcome) for outcome in OUTCOMES}

    def handle(request: Request) -> Answer:
        return _Run(name, contract, function, counts).answer(request)

    # Each event is a span of its own, so the request is none.
    def too_large(_: Request) -> Answer:
        return _Run(name, contract, function, counts).refuse(TooLarge("the body is larger than a step takes"))

    kind = {"largest": LARGEST_BODY, "too_large": too_large, "strangers": installation.not_now}
    started = instrumented(function, handle, needs_database=contract.decides, spans=False, **kind)
    started.contract = contract
    # Without a decision it waits for nothing: a server may call it without a thread.
    started.blocks = contract.decides
    return started


class _Run:
    """One request's way through a step."""

    def __init__(self, name: str, contract: Contract, function: Callable, counts: dict[str, Declared]):
        self.name, self.contract, self.function, self.counts = name, contract, function, counts
        self.began = time.perf_counter()
        self.arrived: list[CloudEvent] = []
        self.spans: list[traces.Span] = []

    def answer(self, request: Request) -> Answer:
        if request.method != "POST":
            return json_answer({"error": "expected a CloudEvent by POST"}, 405, {"Allow": "POST"})
        with ExitStack() as spans:
            try:
                self.arrived, batched = events.from_request(request)
                self.spans = [spans.enter_context(self._span(event, request)) for event in self.arrived]
                inputs = [self.contract.read(event) for event in self.arrived]
                decided = self._until_not_beaten(inputs)
                replies = [self._follow(event, data) for event, data in zip(self.arrived, decided, strict=True)]
            except Exception as problem:
                return self.refuse(problem)
            self._report(replies)
        return events.reply([reply for reply in replies if reply], batched)

    def _span(self, event: CloudEvent, request: Request) -> AbstractContextManager[traces.Span]:
        """An event's own: of a batch each has its trace with it, one that is alone has it in the headers."""
        attributes = event.get_attributes()
        parent = traces.extract(request.headers.get) or traces.extract(attributes.get)
        facts = {"event.type": attributes["type"], "event.id": attributes["id"], "batch": len(self.arrived)}
        return traces.span(self.name, parent, **facts)

    def _until_not_beaten(self, inputs: Sequence[BaseModel]) -> list[BaseModel | None]:
        """A run that lost the race for its key has done nothing; the next one finds what the other decided."""
        for tries_left in reversed(range(BEATEN_AT_MOST)):
            try:
                return self._decided(inputs)
            except database.Duplicate:
                if not tries_left:
                    raise
            except NotYet:
                # What it builds on may have been committed while this statement looked.
                if tries_left != BEATEN_AT_MOST - 1:
                    raise

    def _decided(self, inputs: Sequence[BaseModel]) -> list[BaseModel | None]:
        if not self.contract.decides:
            return [self.function(data) for data in inputs]
        works = [self._work(data, span) for data, span in zip(inputs, self.spans, strict=True)]
        if len(works) == 1:
            return [alone(works[0])]
        # Every batch decides in the order of its orders' ids: two of them never wait for each other.
        in_order = sorted(range(len(works)), key=lambda at: inputs[at].subject)
        done = dict(zip(in_order, together([works[at] for at in in_order]), strict=True))
        return [done[at] for at in range(len(works))]

    def _work(self, data: BaseModel, span: traces.Span) -> Callable[[Decisions], Any]:
        def work(db: Decisions) -> BaseModel | None:
            with traces.within(span.trace):
                return self.function(data, db)

        return work

    def _follow(self, event: CloudEvent, data: BaseModel | None) -> CloudEvent | None:
        return None if data is None else self.contract.follow(event, data)

    def _report(self, replies: Sequence[CloudEvent | None]) -> None:
        self.counts["done"].inc(len(replies))
        for event, reply, span in zip(self.arrived, replies, self.spans, strict=True):
            span.set_outcome("handled")
            self._log(event, "handled", next=None if reply else "nothing")

    def _log(self, event: CloudEvent, outcome: str, level: int = INFO, **fields: object) -> None:
        attributes = event.get_attributes()
        log(
            "event",
            level=level,
            function=self.contract.source,
            type=attributes["type"],
            id=attributes["id"],
            order=attributes.get("subject"),
            ms=milliseconds_since(self.began),
            batch=len(self.arrived) if len(self.arrived) > 1 else None,
            outcome=outcome,
            **fields,
        )

    def refuse(self, problem: Exception) -> Answer:
        """The answer for an event that was not handled."""
        trouble, reason = trouble_of(problem), str(problem) or type(problem).__name__
        # What could not be read is one event: nobody knows how many it was.
        self.counts[trouble.outcome].inc(len(self.arrived) or 1)
        if trouble is FAILED:
            reason = f"{type(problem).__name__} in {self.contract.source}: {reason}"
        for event in self.arrived:
            self._log(event, f"failed {trouble.status}", trouble.level, reason=reason)
        for span in self.spans:
            span.set_outcome(trouble.outcome, failed=True)
        if trouble is FAILED or not self.arrived:
            log("failed", level=trouble.level, trace=trouble is FAILED, function=self.contract.source, reason=reason)
        return json_answer({"error": reason}, trouble.status, trouble.headers)
