"""One queue, one function: a delivery is posted, and acknowledged when the broker has confirmed what came of it.

An event that waits alone is sent alone; what waits together is one batch, and goes one by one when the batch fails.
When a function as a whole is unavailable (it cannot be reached, or says 503 with Retry-After) its trigger pauses and
counts no tries.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from logging import ERROR, INFO, WARNING
from typing import Any

from pydantic import Field

from functions.shared import installation
from functions.shared.events import Unacceptable
from functions.shared.settings import InstallationSettings
from functions.shared.telemetry import traces
from functions.shared.telemetry.logs import log, milliseconds_since
from triggers import wire
from triggers.addresses import CallSettings, address
from triggers.ahead import Ahead
from triggers.amqp import Link, Message, Subscription
from triggers.calls import NAMES, Done, Failed, Meaning, Outcome, Unavailable, call, outcome_of
from triggers.deliveries import Delivery
from triggers.http_client import HttpClient
from triggers.metrics import CALLS, DELIVERED, LAG, MetricsSettings, lag_of, start_at_zero
from triggers.retries import RetryPolicy, RetrySettings, given_up, pauses, unreadable
from triggers.stack import DEAD_LETTERS, Function
from triggers.topology import BrokerSettings, Topology
from triggers.turns import Turns
from triggers.wire import WireEvent, message_of

OUTCOMES = ("done", "again", "dead_letter")
# Trouble that comes again and again must not come a thousand times a second: it takes a worker's place that long.
AFTER_TROUBLE = 1.0
NO_SPAN = traces.Span(None)


class DispatcherSettings(BrokerSettings, CallSettings, InstallationSettings, MetricsSettings, RetrySettings):
    """What the dispatcher reads from its environment."""

    dispatcher_triggers: str = Field(default="", description="names of functions to serve, by commas; all if empty")
    dispatcher_workers: int = Field(default=2, ge=1, description="calls at a time for each function")
    dispatcher_batch: int = Field(default=32, ge=1, le=100, description="events in a batch at the most")
    dispatcher_at_a_time: int = Field(
        default=0, ge=0, description="calls at work over all functions, where these share its processors; 0: no limit"
    )
    dispatcher_ahead: bool = Field(
        default=False,
        description="whether a reply's step begins before RabbitMQ has delivered the reply: for the only dispatcher "
        "of its queues",
    )
    dispatcher_timeout_seconds: float = Field(default=15, gt=0, description="longest wait for a function's answer")

    @property
    def wanted(self) -> set[str]:
        """The names of the functions to serve; empty for all."""
        return {name.strip() for name in self.dispatcher_triggers.split(",") if name.strip()}


@dataclass(frozen=True)
class Job:
    """A delivery and the event in it."""

    delivery: Delivery
    event: WireEvent


class Trigger:
    """The deliveries of one queue, in flight through one function."""

    def __init__(
        self,
        function: Function,
        settings: DispatcherSettings,
        topology: Topology,
        url: str | None = None,
        meaning: Meaning = outcome_of,
        turns: Turns | None = None,
        ahead: Ahead | None = None,
    ):
        self.function, self.settings, self.topology = function, settings, topology
        self._turns, self._ahead = turns or Turns(), ahead or Ahead()
        self.url = url or address(function.name)
        self.meaning = meaning
        self.link: Link | None = None
        self.stopping = asyncio.Event()
        self.subscription = Subscription(topology.queue(function), self._take)
        self._retries = RetryPolicy(settings, topology, function.name, self.subscription.queue)
        self._client = HttpClient(settings.dispatcher_timeout_seconds)
        self._waiting: deque[Delivery] = deque()
        self._running: set[asyncio.Task] = set()
        self._woken = False
        self._bind_metrics()

    def _bind_metrics(self) -> None:
        name = self.function.name
        start_at_zero([name], OUTCOMES, DELIVERED)
        self._delivered = {outcome: DELIVERED.labels(name, outcome) for outcome in OUTCOMES}
        self._calls = {kind: CALLS.labels(name, word) for kind, word in NAMES.items()}
        self._lag = LAG.labels(name)

    @property
    def in_flight(self) -> int:
        """Deliveries in flight that wait here for a call."""
        return len(self._waiting)

    def start(self, link: Link) -> None:
        """Begin to consume."""
        self.link = link
        self._ahead.add(self)

    @property
    def event_type(self) -> str | None:
        """The type of its events; None for dead letters, which are of all types."""
        return self.function.event_type

    async def stop(self, seconds: float) -> None:
        """Finish the calls in flight; what was not begun is left to redelivery."""
        self.stopping.set()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    # -- what waits --------------------------------------------------------------------------------------------

    def _take(self, delivery: Delivery) -> None:
        self._waiting.append(delivery)
        if not self._woken:
            # Once for all that came in one piece: so they are one batch.
            self._woken = True
            asyncio.get_running_loop().call_soon(self.wake)

    def take_ahead(self, message: Message) -> bool:
        """Begin with a message that is about to be published to the queue, unless it has to be waited for."""
        delivery = None if self.stopping.is_set() else self.link.begin_ahead(self.subscription, message)
        if delivery:
            self._take(delivery)
        return delivery is not None

    def wake(self) -> None:
        """Begin the calls that there are workers and turns for."""
        self._woken = False
        while self._waiting and len(self._running) < self.settings.dispatcher_workers and not self.stopping.is_set():
            turn = self._turns.begin(self)
            if turn is None:
                break
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), self.settings.dispatcher_batch))]
            self._run(self._handle(some)).add_done_callback(lambda _, turn=turn: turn.end())

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task) -> None:
        self._running.discard(task)
        self.wake()

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        """Work on what was taken together; whatever goes wrong here, nothing stays unacknowledged."""
        try:
            jobs = [job for delivery in deliveries if not delivery.is_stale and (job := self._read(delivery))]
            together = [job for job in jobs if job.event.is_json]
            if len(together) > 1 and await self._handled_together(together):
                jobs = [job for job in jobs if job not in together]
            for job in jobs:
                await self._handle_alone(job)
        except Exception:
            log("delivery failed", level=ERROR, trace=True, function=self.function.name)
            self.link.give_back(deliveries)
            await self._pause(AFTER_TROUBLE)

    def _read(self, delivery: Delivery) -> Job | None:
        try:
            event = wire.from_amqp(delivery.headers, delivery.content_type, delivery.body)
        except Unacceptable as problem:
            event = unreadable(delivery, self.subscription.queue)
            self._dead_letter(Job(delivery, event), Failed(f"no CloudEvent: {problem}", 0, final=True))
            return None
        if self.function.topic == DEAD_LETTERS:
            event = given_up(event, delivery, self.topology.exchange)
        return Job(delivery, event)

    # -- the call ----------------------------------------------------------------------------------------------

    async def _handled_together(self, jobs: list[Job]) -> bool:
        with ExitStack() as stack:
            spans = [stack.enter_context(self._span(job)) for job in jobs]
            return await self._posted_together(jobs, spans)

    async def _posted_together(self, jobs: list[Job], spans: list[traces.Span]) -> bool:
        began = time.perf_counter()
        headers, body = wire.to_batch([_traced(job.event, span) for job, span in zip(jobs, spans, strict=True)])
        outcome = await self._post_while_unavailable(headers, body, jobs)
        _ended(spans, outcome)
        match outcome:
            case Done(replies):
                self._finish(jobs, _continued(replies, jobs, spans), began)
            case Failed(hung=True):
                # One by one they could hang one after the other; apart they harm no other.
                for job in jobs:
                    self._fail(job, outcome, began)
            case Failed():
                self._report(None, f"batch failed, one by one now: {outcome.reason}", WARNING, began, batch=len(jobs))
                return False
        # Without any outcome when stopping: nothing is acknowledged, nothing else may be tried.
        return True

    async def _handle_alone(self, job: Job) -> None:
        with self._span(job) as span:
            began = time.perf_counter()
            headers, body = wire.to_http(_traced(job.event, span))
            outcome = await self._post_while_unavailable(headers, body, [job])
            _ended([span], outcome)
            match outcome:
                case Done(replies):
                    self._finish([job], [_following(reply, span) for reply in replies], began)
                case Failed() as failure:
                    self._fail(job, failure, began)

    def _span(self, job: Job) -> AbstractContextManager[traces.Span]:
        facts = {"event.type": job.event["type"], "event.id": job.event["id"], "attempt": job.event.attempts + 1}
        return traces.span(f"deliver {self.function.name}", job.event.trace, "client", **facts)

    async def _post_while_unavailable(self, headers: dict, body: bytes, jobs: list[Job]) -> Outcome | None:
        """Post until the function is there again; None when that is for somebody else to see."""
        for pause in pauses():
            await self._while_blocked()
            if self.stopping.is_set() or all(job.delivery.is_stale for job in jobs):
                return None
            began = time.perf_counter()
            outcome = await call(self._client, self.url, headers | installation.headers(), body, self.meaning)
            self._calls[type(outcome)].observe(time.perf_counter() - began)
            if not isinstance(outcome, Unavailable):
                return outcome
            self._report(jobs[0].event, f"function unavailable: {outcome.reason}", WARNING)
            await self._pause(pause)
        return None

    async def _while_blocked(self) -> None:
        """What comes of a call could not be published: the function would work for nothing."""
        while self.link.is_blocked and not self.stopping.is_set():
            await self._pause(AFTER_TROUBLE)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    # -- what comes of it --------------------------------------------------------------------------------------

    def _finish(self, jobs: list[Job], replies: list[WireEvent], began: float) -> None:
        def confirmed() -> None:
            self._delivered["done"].inc(len(jobs))
            for job in jobs:
                if (lag := lag_of(job.event.get("time"))) is not None:
                    self._lag.observe(lag)
                self._report(job.event, "done", INFO, began, batch=len(jobs) if len(jobs) > 1 else None)

        messages = [message_of(reply, self.topology.exchange) for reply in replies]
        self._publish(messages, jobs, confirmed, soon=self._ahead.begin(messages))

    def _fail(self, job: Job, failure: Failed, began: float) -> None:
        # A dead letter has nowhere else to go: it is tried until somebody keeps it.
        if self.function.topic != DEAD_LETTERS and self._retries.is_over(job.event, failure):
            self._dead_letter(job, failure, began)
        else:
            self._retry(job, failure, began)

    def _retry(self, job: Job, failure: Failed, began: float) -> None:
        retry = self._retries.retry(job.event)

        def confirmed() -> None:
            self._delivered["again"].inc()
            self._report(job.event, f"again in {retry.seconds:.1f} s: {failure.reason}", WARNING, began)

        self._publish([retry.message], [job], confirmed)

    def _dead_letter(self, job: Job, failure: Failed, began: float | None = None) -> None:
        def confirmed() -> None:
            self._delivered["dead_letter"].inc()
            self._report(job.event, f"dead letter: {failure.reason}", ERROR, began)

        self._publish([self._retries.dead_letter(job.event, failure)], [job], confirmed)

    def _publish(self, messages: list[Message], jobs: list[Job], confirmed: Any, soon: bool = False) -> None:
        """Publish what came of these, and acknowledge them when the broker has it; else give them back."""
        deliveries = [job.delivery for job in jobs]

        def outcome(failure: str | None) -> None:
            if failure is None:
                self.link.acknowledge(deliveries)
                confirmed()
            else:
                self.link.give_back(deliveries)
                self._report(None, f"given back: {failure}", WARNING, events=len(deliveries))
                self._run(self._pause(AFTER_TROUBLE))

        publish = self.link.publish_soon if soon else self.link.publish_then
        publish(messages, outcome)

    def _report(
        self, event: WireEvent | None, outcome: str, level: int, began: float | None = None, **fields: Any
    ) -> None:
        log(
            "delivery",
            level=level,
            function=self.function.name,
            type=event and event["type"],
            id=event and event["id"],
            order=event and event.get("subject"),
            attempts=event and event.attempts + 1,
            ms=None if began is None else milliseconds_since(began),
            outcome=outcome,
            **fields,
        )


def _ended(spans: Sequence[traces.Span], outcome: Outcome | None) -> None:
    for span in spans:
        span.set_outcome(NAMES.get(type(outcome), "left"), failed=not isinstance(outcome, Done))


def _traced(event: WireEvent, span: traces.Span) -> WireEvent:
    """The event as a part of this span's trace."""
    return event if event.trace is span.trace else replace(event, trace=span.trace)


def _following(reply: WireEvent, span: traces.Span) -> WireEvent:
    """The reply in the trace of what it answers, unless it has one of its own."""
    return reply if reply.trace or not span.trace else replace(reply, trace=span.trace)


def _continued(replies: list[WireEvent], jobs: list[Job], spans: list[traces.Span]) -> list[WireEvent]:
    """The replies to a batch, each in the trace of the event that it says it is caused by."""
    causes = {job.event["id"]: span for job, span in zip(jobs, spans, strict=True)}
    return [_following(reply, causes.get(reply.get("causationid"), NO_SPAN)) for reply in replies]
