"""Posting events to the broker: one alone, many as one batch where the broker takes batches, as ours does.

Knative's takes single events only: then several are posted at a time, over connections that are kept.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from logging import WARNING

from cloudevents.http import CloudEvent

from functions.shared import events, installation
from functions.shared.connections import Connections, NoAnswer
from functions.shared.settings import BrokerSettings, read
from functions.shared.telemetry.logs import log
from functions.shared.telemetry.traces import Trace

# What becomes of an event: TAKEN; NOT_NOW, the broker is away; any other text, why the broker refuses it for good.
TAKEN = None
NOT_NOW = ""

AT_A_TIME = 8
# A flush holds its rows locked while it posts; it must be over well before the database ends an idle transaction.
CONNECT_SECONDS = 1
READ_SECONDS = 5
LONGEST = 8.0  # seconds, after which no further event is posted


@dataclass(frozen=True)
class Outgoing:
    """An event, the trace that it belongs to, and the id of its row where that is another than its own."""

    event: CloudEvent
    trace: Trace | None = None
    id_of_row: str | None = None

    @property
    def row_id(self) -> str:
        """The id of its row in the outbox."""
        return self.id_of_row or self.event["id"]

    @property
    def headers(self) -> dict[str, str]:
        """Of a request for it alone."""
        return {"Content-Type": events.STRUCTURED, **(self.trace.headers() if self.trace else {})}

    @property
    def text(self) -> str:
        """In structured form."""
        return events.to_text(self.event)

    @property
    def text_in_batch(self) -> str:
        """In structured form with its trace in it: one request has many traces there."""
        if self.trace is None:
            return self.text
        return events.to_text(CloudEvent({**self.event.get_attributes(), **self.trace.headers()}, self.event.data))


class _Known:
    """Whether the broker has refused a batch of which it then took every event."""

    takes_batches = True


def post(waiting: Sequence[Outgoing]) -> list[str | None]:
    """Post events, and return the outcome of each, in their order."""
    if len(waiting) > 1 and _Known.takes_batches:
        body = "[" + ",".join(outgoing.text_in_batch for outgoing in waiting) + "]"
        answer = _post(body, {"Content-Type": events.BATCH})
        if answer in (TAKEN, NOT_NOW):
            return [answer] * len(waiting)
    return _post_each(waiting)


def _post_each(waiting: Sequence[Outgoing]) -> list[str | None]:
    if len(waiting) == 1:
        return [_post(waiting[0].text, waiting[0].headers)]
    answers = _post_until_away(waiting)
    if answers and all(answer is TAKEN for answer in answers):
        _Known.takes_batches = False
    return answers


def _post_until_away(waiting: Sequence[Outgoing]) -> list[str | None]:
    """Several at a time; once the broker is away, or so slow that time is up, the others are not posted now."""
    began, answers = time.monotonic(), []
    while len(answers) < len(waiting) and NOT_NOW not in answers and time.monotonic() - began < LONGEST:
        some = waiting[len(answers) : len(answers) + AT_A_TIME]
        answers += _threads().map(lambda outgoing: _post(outgoing.text, outgoing.headers), some)
    return answers + [NOT_NOW] * (len(waiting) - len(answers))


def _post(body: str, headers: dict[str, str]) -> str | None:
    try:
        sent = headers | installation.headers()
        answer = _connections().request("POST", read(BrokerSettings).broker_url, body.encode(), sent)
    except NoAnswer as problem:
        log("broker not reached", level=WARNING, reason=str(problem))
        return NOT_NOW
    if answer.status in (200, 202):
        return TAKEN
    if answer.status in (400, 413, 415):
        return f"{answer.status} {answer.body.decode(errors='replace')}"
    log("broker not ready", level=WARNING, status=answer.status)
    return NOT_NOW


@cache
def _connections() -> Connections:
    return Connections(CONNECT_SECONDS, READ_SECONDS)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="broker")
