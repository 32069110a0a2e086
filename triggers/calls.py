"""Calling a function with an event, and what its answer means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functions.shared.events import Unacceptable
from triggers import wire
from triggers.http_client import HttpClient, Lost, NotReached, TimedOut
from triggers.wire import WireEvent

LONGEST_REASON = 2000


@dataclass(frozen=True)
class Done:
    """The function has handled it; what it answered goes on."""

    replies: list[WireEvent]


@dataclass(frozen=True)
class Failed:
    """The function has not handled this event; `final` when it never will, `hung` when it never answered."""

    reason: str
    status: int
    final: bool = False
    hung: bool = False


@dataclass(frozen=True)
class Unavailable:
    """The function is unavailable: not this event's fault."""

    reason: str


Outcome = Done | Failed | Unavailable
NAMES = {Done: "done", Failed: "failed", Unavailable: "unavailable"}
Meaning = Callable[[int, Any, bytes], Outcome]


def outcome_of(status: int, headers: Any, body: bytes) -> Outcome:
    """What an answer means. A reply that is no CloudEvent counts as none, one that is half of one as a failure."""
    if 200 <= status < 300:
        try:
            return Done(wire.replies_from_http(status, headers, body))
        except Unacceptable as problem:
            return Failed(f"the reply is no CloudEvent: {problem}", status)
    reason = f"{status} {body[:LONGEST_REASON].decode(errors='replace')}".strip()
    if status == 503 and "retry-after" in headers:
        return Unavailable(reason)
    return Failed(reason, status, final=headers.get("X-Retry") == "never")


async def call(
    client: HttpClient, url: str, headers: dict[str, str], body: bytes, meaning: Meaning = outcome_of
) -> Outcome:
    """Post an event, or a batch of them, to a function."""
    try:
        answer = await client.post(url, headers.items(), body)
    except NotReached as problem:
        return Unavailable(str(problem))
    except (Lost, ValueError) as problem:
        return Failed(f"{type(problem).__name__}: {problem}", -1, hung=isinstance(problem, TimedOut))
    return meaning(answer.status, answer.headers, answer.body)
