"""The saga step: take an event, work and remember the answer in one commit, answer with the event that comes next.

A step is written for one event and never sees a repeated one:

    @step
    def withdraw(order: Withdraw, db: Database) -> ConfirmSale: ...

Its annotations are the contract: the model of the event that comes in, the models that may go out.
"""

import io
import time
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from logging import ERROR, INFO, WARNING
from pathlib import Path

from cloudevents.http import CloudEvent
from flask import Request, has_app_context
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from functions.shared import database, events, traces
from functions.shared.answers import Answer, json_answer
from functions.shared.database import Database
from functions.shared.logs import log, milliseconds_since
from functions.shared.metrics import Counter
from functions.shared.refusals import explain
from functions.shared.settings import DatabaseSettings, Misconfigured, Settings, read
from functions.shared.watched import deployed_name, watched

# What our dispatcher reads as: this can never be handled, put it with the dead letters at once.
NEVER_RETRY = {"X-Retry": "never"}
LARGEST_BODY = 8 * 1024 * 1024

FIND = """
    SELECT source, id, reply FROM inbox WHERE function = :function AND id = ANY(CAST(:ids AS text[]))
"""
REMEMBER = """
    INSERT INTO inbox (function, source, id, subject, reply)
    SELECT :function, * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[]),
                                    CAST(:subjects AS text[]), CAST(:replies AS text[]))
"""

EVENTS = Counter("function_events", "Events by what came of them", ["function", "type", "outcome"])
OUTCOMES = ("done", "replayed", "not_yet", "not_now", "failed", "never")

Unacceptable = events.Unacceptable


class NotYet(Exception):
    """What this event builds on has not been handled here yet: nothing was done, send it again later."""


@dataclass(frozen=True)
class Contract:
    """What a step takes and gives, read off its annotations."""

    name: str
    source: str
    takes: type[BaseModel]
    gives: tuple[type[BaseModel], ...]

    @classmethod
    def of(cls, function: Callable) -> "Contract":
        """Read the contract of a function of the form (event data, database) -> next event's data."""
        hints = typing.get_type_hints(function)
        gives = hints.pop("return", None)
        united = typing.get_args(gives) if isinstance(gives, types.UnionType) else (gives,)
        taken = next(hint for hint in hints.values() if hint is not Database)
        path = Path(function.__code__.co_filename)
        return cls(
            name=function.__name__,
            source=f"/{path.parent.name}/{path.stem}",
            takes=taken,
            gives=tuple(model for model in united if model not in (None, types.NoneType)),
        )

    def read(self, event: CloudEvent) -> BaseModel:
        """The event's data as this step's model. Raises events.Unacceptable."""
        expected = self.takes.event_type
        if event["type"] != expected:
            raise events.Unacceptable(f"type: expected {expected}, got {event['type']}")
        try:
            data = self.takes.model_validate(event.data)
        except ValidationError as problem:
            raise events.Unacceptable(f"data of {event['id']}: {explain(problem, hide=('email',))}") from None
        if event.get("subject") not in (None, data.subject):
            raise events.Unacceptable(f"subject: expected {data.subject} as in data, got {event['subject']}")
        event["subject"] = data.subject
        return data

    def follow(self, cause: CloudEvent, data: BaseModel) -> CloudEvent:
        """The event that comes next; its id is derived from its cause."""
        return events.make(
            type=data.event_type,
            source=self.source,
            id=events.derived_id(cause["source"], cause["id"], data.event_type),
            subject=data.subject,
            causation=cause["id"],
            data=data.model_dump(by_alias=True, mode="python"),
        )


def require(*models: type[Settings]) -> None:
    """Refuse to start, in one line, when the framework loads a function whose settings are not there."""
    if has_app_context():
        try:
            for model in models:
                read(model)
        except Misconfigured as problem:
            raise SystemExit(f"cannot start: {problem}") from None


def step(function: Callable) -> Callable[[Request], Answer]:
    """Make a saga step out of `function`; see the module's text for its form."""
    contract = Contract.of(function)
    require(DatabaseSettings)
    # All at once, at zero: the first event of its kind would not show as an increase otherwise.
    name = deployed_name(function)
    counts = {outcome: EVENTS.labels(name, contract.takes.event_type, outcome) for outcome in OUTCOMES}

    def handle(request: Request) -> Answer:
        return _Run(name, contract, function, counts).answer(request)

    # Each event is a span of its own, so the request is none.
    started = watched(function, handle, spans=False)
    started.contract = contract
    return started


class _Run:
    """One request's way through a step."""

    def __init__(self, name: str, contract: Contract, function: Callable, counts: dict[str, Counter]):
        self.name, self.contract, self.function, self.counts = name, contract, function, counts
        self.began = time.perf_counter()
        self.arrived: list[CloudEvent] = []
        self.spans: list[traces.Span] = []

    def answer(self, request: Request) -> Answer:
        if request.method != "POST":
            return json_answer({"error": "expected a CloudEvent by POST"}, 405, {"Allow": "POST"})
        with ExitStack() as spans:
            try:
                request.max_content_length = LARGEST_BODY
                self.arrived, batched = events.from_request(request)
                self.spans = [spans.enter_context(self._span(event, request)) for event in self.arrived]
                inputs = [self.contract.read(event) for event in self.arrived]
                replies = self._once_more_if_beaten(inputs)
            except Exception as problem:
                return self._trouble(request, problem)
        return events.reply(replies, batched)

    def _span(self, event: CloudEvent, request: Request) -> AbstractContextManager[traces.Span]:
        """An event's own: of a batch each has its trace with it, one that is alone has it in the headers."""
        parent = traces.told_by(request.headers.get) or traces.told_by(event.get)
        facts = {"event.type": str(event["type"]), "event.id": str(event["id"]), "batch": len(self.arrived)}
        return traces.span(self.name, parent, **facts)

    def _once_more_if_beaten(self, inputs: Sequence[BaseModel]) -> list[CloudEvent]:
        """A run that another one beat to its key rolls back and is then answered from the other's row."""
        try:
            return self._all_or_nothing(inputs)
        except database.Duplicate:
            return self._all_or_nothing(inputs)

    def _all_or_nothing(self, inputs: Sequence[BaseModel]) -> list[CloudEvent]:
        with database.transaction() as db:
            known = self._known(db)
            fresh: dict[tuple[str, str], tuple[str, str | None]] = {}
            for event, data, span in zip(self.arrived, inputs, self.spans, strict=True):
                key = (event["source"], event["id"])
                if key not in known:
                    with traces.within(span.trace):
                        known[key] = self._work(event, data, db)
                    fresh[key] = (data.subject, known[key])
            self._remember(db, fresh)
        self._tell(fresh, known)
        stored = (known[event["source"], event["id"]] for event in self.arrived)
        return [events.from_text(text) for text in stored if text]

    def _known(self, db: Database) -> dict[tuple[str, str], str | None]:
        ids = [event["id"] for event in self.arrived]
        found = db.rows(FIND, function=self.contract.name, ids=ids)
        return {(row.source, row.id): row.reply for row in found}

    def _work(self, event: CloudEvent, data: BaseModel, db: Database) -> str | None:
        next_data = self.function(data, db)
        return None if next_data is None else events.to_text(self.contract.follow(event, next_data))

    def _remember(self, db: Database, fresh: dict[tuple[str, str], tuple[str, str | None]]) -> None:
        if fresh:
            db.rows(
                REMEMBER,
                function=self.contract.name,
                sources=[source for source, _ in fresh],
                ids=[id for _, id in fresh],
                subjects=[subject for subject, _ in fresh.values()],
                replies=[reply for _, reply in fresh.values()],
            )

    def _tell(self, fresh: dict, known: dict) -> None:
        for event, span in zip(self.arrived, self.spans, strict=True):
            key = (event["source"], event["id"])
            outcome = "handled" if key in fresh else "answered again"
            self.counts["done" if key in fresh else "replayed"].inc()
            span.ended(outcome)
            self._log(event, outcome, next="nothing" if known[key] is None else None)

    def _log(self, event: CloudEvent, outcome: str, level: int = INFO, **fields: object) -> None:
        log(
            "event",
            level=level,
            function=self.contract.source,
            type=event["type"],
            id=event["id"],
            order=event.get("subject"),
            ms=milliseconds_since(self.began),
            batch=len(self.arrived) if len(self.arrived) > 1 else None,
            outcome=outcome,
            **fields,
        )

    def _trouble(self, request: Request, problem: Exception) -> Answer:
        if isinstance(problem, RequestEntityTooLarge):
            # The framework reads what is left of the body after the answer, and would fail on it again.
            request.stream = io.BytesIO()
        outcome, status, headers, level = _sorted_trouble(problem)
        # What could not be read is one event: nobody knows how many it was.
        self.counts[outcome].inc(len(self.arrived) or 1)
        reason = str(problem) or type(problem).__name__
        if status == 500 and not headers:
            reason = f"{type(problem).__name__} in {self.contract.source}: {reason}"
        for event in self.arrived:
            self._log(event, f"failed {status}", level, reason=reason)
        for span in self.spans:
            span.ended(outcome, failed=True)
        if level == ERROR or not self.arrived:
            log("failed", level=level, trace=level == ERROR, function=self.contract.source, reason=reason)
        return json_answer({"error": reason}, status, headers)


def _sorted_trouble(problem: Exception) -> tuple[str, int, dict[str, str], int]:
    """Outcome, status, headers and log level.

    503 is "not now", 500 with `X-Retry: never` is "never", 500 alone is a bug.
    """
    match problem:
        case events.Unacceptable() | database.Refused() | RequestEntityTooLarge():
            return "never", 500, NEVER_RETRY, WARNING
        case database.Unavailable():
            # The whole function is out of work, not this event alone: whoever sends may pause.
            return "not_now", 503, {"Retry-After": "1"}, WARNING
        case NotYet():
            return "not_yet", 503, {}, WARNING
        case database.Conflict():
            return "not_now", 503, {}, WARNING
        case _:
            return "failed", 500, {}, ERROR
