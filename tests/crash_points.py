"""Every point at which a process can die in the middle of an order, in one list, and how a test has it die there.

Before and after each statement, commit, post, publication, confirm and acknowledgement. Functions die in the test's
own process: what they hold is gone, and what PostgreSQL and the broker have got is there. Triggers die for real.
"""

import asyncio
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from functions.order import outbox
from functions.shared import database


@dataclass(frozen=True)
class Point:
    """Before a function of ours is called, or after it; `of` tells points apart that one function has."""

    name: str
    when: Literal["before", "after"]
    target: str
    of: str = ""


PIPELINE = "functions.shared.pipeline:PipelinedConnection"
POST = "functions.order.broker:_post"
ASK = "functions.order.redrive:call"
LINK = "triggers.amqp:Link"
ACKNOWLEDGE = "triggers.deliveries:Consumer.acknowledge"

FUNCTIONS = (
    Point("before a statement is sent", "before", f"{PIPELINE}._send", "statement"),
    Point("a statement is sent and not answered", "after", f"{PIPELINE}._send", "statement"),
    Point("a statement is answered", "after", f"{PIPELINE}._receive", "statement"),
    Point("before the commit is sent", "before", f"{PIPELINE}._send", "commit"),
    Point("the commit is sent and not answered", "after", f"{PIPELINE}._send", "commit"),
    Point("the commit is answered", "after", f"{PIPELINE}._receive", "commit"),
    Point("before events are posted to the broker", "before", POST),
    Point("the broker has taken events", "after", POST),
    Point("before another function is asked", "before", ASK),
    Point("another function has answered", "after", ASK),
)
DISPATCHER = (
    Point("an event is delivered", "after", "triggers.trigger:Trigger._take"),
    Point("before the function is called", "before", "triggers.trigger:call"),
    Point("the function has answered", "after", "triggers.trigger:call"),
    Point("before what follows is published", "before", f"{LINK}.publish_then"),
    Point("what follows is written", "after", f"{LINK}.publish_then"),
    Point("before the confirm is read", "before", f"{LINK}._confirmed"),
    Point("the confirm is read", "after", f"{LINK}._confirmed"),
    Point("before the acknowledgement is written", "before", ACKNOWLEDGE),
    Point("the acknowledgement is written", "after", ACKNOWLEDGE),
)
AHEAD = (
    Point("an event is begun ahead", "after", "triggers.trigger:Trigger.take_ahead"),
    Point("before what is begun waits to be published", "before", f"{LINK}.publish_soon"),
    Point("what is begun waits to be published", "after", f"{LINK}.publish_soon"),
    Point("before what waits is published", "before", f"{LINK}._write_now"),
    Point("what waited is published", "after", f"{LINK}._write_now"),
    Point("the copy of what was begun is delivered", "after", "triggers.deliveries:Delivery.is_of"),
)
INGRESS = (
    Point("before an event is published", "before", f"{LINK}.publish_then"),
    Point("an event is written", "after", f"{LINK}.publish_then"),
    Point("before its confirm is read", "before", f"{LINK}._confirmed"),
    Point("its confirm is read", "after", f"{LINK}._confirmed"),
    Point("before the sender is answered", "before", "triggers.ingress:_report"),
)


class Killed(BaseException):
    """The process is dead: nothing of ours catches this."""


class Plug:
    """Has this process die at the point with a given number; when it is dead nothing works until it starts again."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.at: int | None = None
        self.passed = 0
        self.where: str | None = None
        self._dead = self._commits = False
        _wrap(f"{PIPELINE}.execute", self._look, patch.setattr)
        for target in dict.fromkeys(point.target for point in FUNCTIONS):
            _wrap(target, functools.partial(self._around, target), patch.setattr)

    def kill(self, work: Callable[[], Any], at: int) -> Any:
        """Do `work` and die at its point number `at`; gives None, or what it gives when it has fewer points."""
        self.at, self.passed, self.where = at, 0, None
        try:
            return work()
        except Killed:
            return None
        finally:
            self.at = None
            if self._dead:
                self._start_again()

    def _start_again(self) -> None:
        database.pool.close()
        self._dead = False
        outbox.broker._Known.takes_batches = True

    def _look(self, execute: Callable, connection: Any, executions: Sequence[Any]) -> Any:
        self._commits = any(statement.statement == "COMMIT" for statement, _ in executions)
        return execute(connection, executions)

    def _around(self, target: str, original: Callable, *arguments: Any, **named: Any) -> Any:
        self._pass(target, "before")
        done = original(*arguments, **named)
        self._pass(target, "after")
        return done

    def _pass(self, target: str, when: str) -> None:
        if self._dead:
            raise Killed(self.where)
        kind = ("commit" if self._commits else "statement") if target.startswith(PIPELINE) else ""
        for point in FUNCTIONS:
            if (point.target, point.when, point.of) == (target, when, kind):
                self._reach(point)

    def _reach(self, point: Point) -> None:
        if self.at is not None and self.passed == self.at:
            self.where, self._dead = point.name, True
            raise Killed(point.name)
        self.passed += 1


def _wrap(target: str, around: Callable, setattr: Callable = setattr) -> None:
    """Call `around` with a function of ours, and what it is called with, instead of it."""
    module, _, path = target.partition(":")
    owner, *names = [importlib.import_module(module), *path.split(".")]
    for name in names[:-1]:
        owner = getattr(owner, name)
    original = getattr(owner, names[-1])
    setattr(owner, names[-1], functools.wraps(original)(lambda *a, **n: around(original, *a, **n)))


def die_at(point: Point) -> None:
    """From now on this process kills itself when it comes to that point."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def around(original: Callable, *arguments: Any, **named: Any) -> Any:
        if point.when == "before":
            die()
        done = original(*arguments, **named)
        if asyncio.iscoroutine(done):
            return _then(done, die)
        return die()

    async def _then(done: Any, afterwards: Callable[[], None]) -> Any:
        await done
        afterwards()

    _wrap(point.target, around)


if __name__ == "__main__":
    # python -m tests.crash_points dispatcher "before the confirm is read": a trigger that dies there.
    name, where = sys.argv.pop(1), sys.argv.pop(1)
    points = {"dispatcher": (*DISPATCHER, *AHEAD), "ingress": INGRESS, "broker": (*AHEAD, *INGRESS)}[name]
    die_at(next(point for point in points if point.name == where))
    importlib.import_module(f"triggers.{name}").main()
