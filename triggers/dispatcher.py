"""The broker's back door: takes events off each trigger's queue, posts them to its function, sends on the replies.

An event is acknowledged after RabbitMQ has confirmed what came of it: its reply, its next try, or its dead letter.
One that waits alone is sent alone; what waits together is sent as one batch, and one by one when the batch fails.
A failed event waits in RabbitMQ for its next try, and no other waits for it. When a function as a whole is out of
work (it cannot be reached, or says 503 with Retry-After) its trigger pauses and counts no tries.
"""

import base64
import itertools
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from logging import ERROR, INFO, WARNING
from typing import Any

import urllib3
from pydantic import Field

from functions.shared import traces
from functions.shared.events import Unacceptable, derived_id
from functions.shared.logs import log, milliseconds_since
from triggers import wire
from triggers.addresses import CallSettings, address, pool
from triggers.amqp import Delivery, Link, Message, NotConfirmed, Subscription
from triggers.command import on_stop, settings_for
from triggers.ingress import message_of
from triggers.measured import (
    CALLS,
    DELIVERED,
    LAG,
    MetricsSettings,
    Queues,
    check_metrics_port,
    lag_of,
    start_at_zero,
    tell_figures,
)
from triggers.stack import DEAD_LETTERS, Function, load
from triggers.topology import ROOMS, BrokerSettings, Topology
from triggers.wire import Wired

LONGEST_REASON = 2000
LONGEST_PAUSE = 15.0
UNREADABLE = "homework.arch.ops.unreadable"
OUTCOMES = ("done", "again", "dead_letter")
NO_SPAN = traces.Span(None)


class DispatcherSettings(BrokerSettings, CallSettings, MetricsSettings):
    """What the dispatcher reads from its environment."""

    dispatcher_triggers: str = Field(default="", description="names of functions to serve, by commas; all if empty")
    dispatcher_workers: int = Field(default=2, ge=1, description="calls at a time for each function")
    dispatcher_batch: int = Field(default=32, ge=1, le=100, description="events in a batch at the most")
    dispatcher_tries: int = Field(default=10, ge=1, description="tries until an event is a dead letter")
    dispatcher_backoff_seconds: float = Field(default=0.5, gt=0, description="wait before the second try; doubles")
    dispatcher_longest_backoff_seconds: float = Field(default=60, gt=0, description="longest wait between tries")
    dispatcher_timeout_seconds: float = Field(default=15, gt=0, description="longest wait for a function's answer")

    @property
    def wanted(self) -> set[str]:
        """The names of the functions to serve; empty for all."""
        return {name.strip() for name in self.dispatcher_triggers.split(",") if name.strip()}


@dataclass(frozen=True)
class Done:
    """The function has handled it; what it answered goes on."""

    replies: list[Wired]


@dataclass(frozen=True)
class Failed:
    """The function has not handled this event; `final` when it never will, `hung` when it never answered."""

    reason: str
    status: int
    final: bool = False
    hung: bool = False


@dataclass(frozen=True)
class OutOfWork:
    """The function handles nothing now: not this event's fault."""

    reason: str


CALLED = {Done: "done", Failed: "failed", OutOfWork: "out_of_work", type(None): "left"}


@dataclass(frozen=True)
class Job:
    """A delivery and the event in it."""

    delivery: Delivery
    event: Wired


class Trigger:
    """One queue, one function, and the workers between them."""

    def __init__(self, function: Function, settings: DispatcherSettings, topology: Topology):
        self.function, self.settings, self.topology = function, settings, topology
        self.link: Link | None = None
        self.stopping = threading.Event()
        start_at_zero([function.name], OUTCOMES, DELIVERED)
        self._deliveries: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._pool = pool(settings.dispatcher_timeout_seconds, settings.dispatcher_workers)
        names = range(settings.dispatcher_workers)
        self.workers = [threading.Thread(target=self._work, name=f"{function.name}-{n}", daemon=True) for n in names]

    @property
    def subscription(self) -> Subscription:
        """What to consume."""
        return Subscription(self.topology.queue(self.function), self._deliveries.put)

    @property
    def url(self) -> str:
        """Where the function answers."""
        return address(self.function.name)

    def meaning(self, status: int, headers: Any, body: bytes) -> "Done | Failed | OutOfWork":
        """What an answer means."""
        return outcome_of(status, headers, body)

    @property
    def in_hand(self) -> int:
        """Events that wait here for a worker."""
        return self._deliveries.qsize()

    def start(self, link: Link) -> None:
        """Begin to work on what `link` delivers."""
        self.link = link
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        """Finish what is in hand; what is not is left to redelivery."""
        self.stopping.set()
        for _ in self.workers:
            self._deliveries.put(None)

    # -- one round of a worker ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self.stopping.is_set():
            first = self._deliveries.get()
            if first is not None and not self.stopping.is_set():
                try:
                    self._handle([first, *self._waiting(self.settings.dispatcher_batch - 1)])
                except NotConfirmed as problem:
                    # Nothing was acknowledged: RabbitMQ delivers again when it is back.
                    self._tell(None, f"left to redelivery: {problem}", WARNING)
                except Exception:
                    log("worker failed", level=ERROR, trace=True, function=self.function.name)

    def _waiting(self, most: int) -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < most:
            try:
                delivery = self._deliveries.get_nowait()
            except queue.Empty:
                break
            if delivery is None:
                # The sign to stop is for another worker.
                self._deliveries.put(None)
                break
            found.append(delivery)
        return found

    def _handle(self, deliveries: Sequence[Delivery]) -> None:
        jobs = [job for delivery in deliveries if not delivery.is_stale and (job := self._read(delivery))]
        together = [job for job in jobs if job.event.is_json]
        if len(together) > 1 and self._handled_together(together):
            jobs = [job for job in jobs if job not in together]
        for job in jobs:
            self._handle_alone(job)

    def _read(self, delivery: Delivery) -> Job | None:
        properties = delivery.properties
        try:
            return Job(delivery, wire.from_amqp(properties.headers, properties.content_type, delivery.body))
        except Unacceptable as problem:
            unreadable = _unreadable(delivery, self.topology.queue(self.function))
            self._bury(Job(delivery, unreadable), Failed(f"no CloudEvent: {problem}", 0, final=True))
            return None

    def _handled_together(self, jobs: list[Job]) -> bool:
        with ExitStack() as stack:
            spans = [stack.enter_context(self._span(job)) for job in jobs]
            return self._posted_together(jobs, spans)

    def _posted_together(self, jobs: list[Job], spans: list[traces.Span]) -> bool:
        began = time.perf_counter()
        headers, body = wire.to_batch([_traced(job.event, span) for job, span in zip(jobs, spans, strict=True)])
        outcome = self._post_while_out_of_work(headers, body, jobs)
        for span in spans:
            span.ended(CALLED[type(outcome)], failed=not isinstance(outcome, Done))
        match outcome:
            case Done(replies):
                self._finish(jobs, _continued(replies, jobs, spans), began)
            case Failed(hung=True):
                # One by one they could hang one after the other; apart they harm no other.
                for job in jobs:
                    self._fail(job, outcome, began)
            case Failed():
                self._tell(None, f"batch failed, one by one now: {outcome.reason}", WARNING, began, batch=len(jobs))
                return False
        # Without any outcome when stopping: nothing is acknowledged, nothing else may be tried.
        return True

    def _span(self, job: Job) -> AbstractContextManager[traces.Span]:
        facts = {"event.type": job.event["type"], "event.id": job.event["id"], "attempt": job.event.attempts + 1}
        return traces.span(f"deliver {self.function.name}", job.event.trace, "client", **facts)

    def _handle_alone(self, job: Job) -> None:
        with self._span(job) as span:
            self._post_alone(job, span)

    def _post_alone(self, job: Job, span: traces.Span) -> None:
        began = time.perf_counter()
        headers, body = wire.to_http(_traced(job.event, span))
        outcome = self._post_while_out_of_work(headers, body, [job])
        span.ended(CALLED[type(outcome)], failed=not isinstance(outcome, Done))
        match outcome:
            case Done(replies):
                self._finish([job], [_following(reply, span) for reply in replies], began)
            case Failed() as failure:
                self._fail(job, failure, began)

    def _fail(self, job: Job, failure: Failed, began: float) -> None:
        # A dead letter has nowhere else to go: it is tried until somebody keeps it.
        can_be_buried = self.function.topic != DEAD_LETTERS
        if can_be_buried and (failure.final or job.event.attempts + 1 >= self.settings.dispatcher_tries):
            self._bury(job, failure, began)
        else:
            self._retry(job, failure, began)

    # -- the call ----------------------------------------------------------------------------------------------

    def _post_while_out_of_work(self, headers: dict, body: bytes, jobs: list[Job]) -> Done | Failed | None:
        """Post until the function works again; None when that is for somebody else to see."""
        for pause in _pauses():
            if self.stopping.is_set() or all(job.delivery.is_stale for job in jobs):
                return None
            outcome = self._post(headers, body)
            if not isinstance(outcome, OutOfWork):
                return outcome
            self._tell(jobs[0].event, f"function out of work: {outcome.reason}", WARNING)
            self.stopping.wait(pause)
        return None

    def _post(self, headers: dict[str, str], body: bytes) -> Done | Failed | OutOfWork:
        began = time.perf_counter()
        outcome = self._answer_of_function(headers, body)
        CALLS.labels(self.function.name, CALLED[type(outcome)]).observe(time.perf_counter() - began)
        return outcome

    def _answer_of_function(self, headers: dict[str, str], body: bytes) -> Done | Failed | OutOfWork:
        try:
            answer = self._pool.request("POST", self.url, body=body, headers=headers)
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as problem:
            return OutOfWork(str(problem))
        except (urllib3.exceptions.HTTPError, ValueError) as problem:
            hung = isinstance(problem, urllib3.exceptions.ReadTimeoutError)
            return Failed(f"{type(problem).__name__}: {problem}", -1, hung=hung)
        return self.meaning(answer.status, answer.headers, answer.data)

    # -- what comes of it --------------------------------------------------------------------------------------

    def _finish(self, jobs: list[Job], replies: list[Wired], began: float) -> None:
        self._publish([message_of(reply, self.topology.exchange) for reply in replies])
        for job in jobs:
            self.link.acknowledge(job.delivery)
            self._count("done", job)
            self._tell(job.event, "done", INFO, began, batch=len(jobs) if len(jobs) > 1 else None)

    def _retry(self, job: Job, failure: Failed, began: float) -> None:
        attempts = job.event.attempts + 1
        room = self.topology.room(attempts - 1)
        wait = self._backoff(attempts)
        event = replace(job.event, attempts=attempts)
        home = self.topology.queue(self.function)
        self._publish([message_of(event, room, home, expires=int(wait * 1000), must_arrive=True)])
        self.link.acknowledge(job.delivery)
        self._count("again")
        self._tell(event, f"again in {wait:.1f} s: {failure.reason}", WARNING, began)

    def _backoff(self, attempts: int) -> float:
        doubled = self.settings.dispatcher_backoff_seconds * 2 ** min(attempts - 1, ROOMS - 1)
        return min(doubled, self.settings.dispatcher_longest_backoff_seconds) * random.uniform(0.8, 1.2)

    def _bury(self, job: Job, failure: Failed, began: float | None = None) -> None:
        reason = failure.reason.encode()[:LONGEST_REASON]
        letter = replace(job.event, attempts=0).with_attributes(
            knativeerrordest=self.function.name,
            knativeerrorcode=str(failure.status),
            knativeerrordata=base64.b64encode(reason).decode(),
            deliveryattempts=str(job.event.attempts + 1),
        )
        self._publish([message_of(letter, "", self.topology.dead_letters, must_arrive=True)])
        self.link.acknowledge(job.delivery)
        self._count("dead_letter")
        self._tell(job.event, f"dead letter: {failure.reason}", ERROR, began)

    def _count(self, outcome: str, handled: Job | None = None) -> None:
        DELIVERED.labels(self.function.name, outcome).inc()
        if handled and (lag := lag_of(handled.event.get("time"))) is not None:
            LAG.labels(self.function.name).observe(lag)

    def _publish(self, messages: list[Message]) -> None:
        self.link.publish(messages)

    def _tell(
        self, event: Wired | None, outcome: str, level: int, began: float | None = None, **fields: Any
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


def outcome_of(status: int, headers: Any, body: bytes) -> Done | Failed | OutOfWork:
    """What an answer means. A reply that is no CloudEvent counts as none, one that is half of one as a failure."""
    if 200 <= status < 300:
        try:
            return Done(wire.replies_from_http(status, headers, body))
        except Unacceptable as problem:
            return Failed(f"the reply is no CloudEvent: {problem}", status)
    reason = f"{status} {body[:LONGEST_REASON].decode(errors='replace')}".strip()
    if status == 503 and "Retry-After" in headers:
        return OutOfWork(reason)
    return Failed(reason, status, final=headers.get("X-Retry") == "never")


def _traced(event: Wired, span: traces.Span) -> Wired:
    """The event as a part of this span's trace."""
    return replace(event, trace=span.trace)


def _following(reply: Wired, span: traces.Span) -> Wired:
    """The reply in the trace of what it answers, unless it has one of its own."""
    return replace(reply, trace=reply.trace or span.trace)


def _continued(replies: list[Wired], jobs: list[Job], spans: list[traces.Span]) -> list[Wired]:
    """The replies to a batch, each in the trace of the event that it says it is caused by."""
    causes = {job.event["id"]: span for job, span in zip(jobs, spans, strict=True)}
    return [_following(reply, causes.get(reply.get("causationid"), NO_SPAN)) for reply in replies]


def _pauses() -> Any:
    """Longer and longer, each a little different: after an outage not everybody calls in the same moment."""
    doubling = (min(0.25 * 2**n, LONGEST_PAUSE) for n in range(10))
    steady = itertools.repeat(LONGEST_PAUSE)
    return (pause * random.uniform(0.7, 1.3) for pause in itertools.chain(doubling, steady))


def _unreadable(delivery: Delivery, queue_name: str) -> Wired:
    """A CloudEvent around a message that is none, so that it can be kept."""
    data = base64.b64encode(delivery.body).decode()
    attributes = {
        "specversion": "1.0",
        "type": UNREADABLE,
        "source": "/" + queue_name,
        "id": derived_id(queue_name, data, str(delivery.properties.headers)),
    }
    return wire.checked({**attributes, "datacontenttype": "application/json"}, f'{{"base64":"{data}"}}'.encode())


class Dispatcher:
    """All triggers on one connection."""

    def __init__(self, settings: DispatcherSettings):
        self.topology = Topology.of(settings)
        self.triggers = [Trigger(function, settings, self.topology) for function in _served(settings)]
        subscriptions = [trigger.subscription for trigger in self.triggers]
        self.link = Link(settings.amqp_url, self.topology.declare, subscriptions)

    def tell_queues(self) -> None:
        """Have the depth of the queues among the figures."""
        Queues(lambda: self.link.is_ready, lambda: self.link.depths(self.topology.queues), self._in_hand)

    def _in_hand(self) -> dict[str, int]:
        return {trigger.function.name: trigger.in_hand for trigger in self.triggers}

    def start(self) -> None:
        """Begin to consume."""
        for trigger in self.triggers:
            trigger.start(self.link)
        self.link.start()

    def stop(self, seconds: float = 12) -> None:
        """Take nothing more, let the workers finish, then close: what is unacknowledged goes back to its queue."""
        self.link.stop_consuming()
        deadline = time.monotonic() + seconds
        for trigger in self.triggers:
            trigger.stop()
        for worker in (worker for trigger in self.triggers for worker in trigger.workers):
            worker.join(timeout=max(0, deadline - time.monotonic()))
        self.link.stop()


def _served(settings: DispatcherSettings) -> list[Function]:
    listed = [function for function in load() if function.event_type or function.topic == DEAD_LETTERS]
    wanted = settings.wanted
    if unknown := wanted - {function.name for function in listed}:
        names = ", ".join(function.name for function in listed)
        raise SystemExit(f"DISPATCHER_TRIGGERS: expected some of {names}; got {', '.join(sorted(unknown))}")
    return [function for function in listed if not wanted or function.name in wanted]


def main() -> None:
    """Dispatch until SIGTERM."""
    settings = settings_for(DispatcherSettings, __doc__)
    run(settings, lambda: Dispatcher(settings))


def run(settings: DispatcherSettings, make: Callable[[], Dispatcher]) -> None:
    """Let it work until SIGTERM, and finish what is in hand."""
    check_metrics_port(settings)
    dispatcher = make()
    finished = threading.Event()

    def finish() -> None:
        dispatcher.stop()
        finished.set()

    on_stop(finish)
    dispatcher.start()
    dispatcher.tell_queues()
    tell_figures(settings)
    log("dispatcher started", triggers=len(dispatcher.triggers))
    finished.wait()
    log("dispatcher stopped")


if __name__ == "__main__":
    main()
