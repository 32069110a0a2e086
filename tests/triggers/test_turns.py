"""Whose turn it is to call: so many at a time, most events first, and nobody late."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from triggers import turns
from triggers.turns import Turn, Turns


class Trigger:
    """One that wants to call, as often as it has events."""

    def __init__(self, turns: Turns, name: str, events: int, begun: list[str]):
        self.turns, self.name, self.in_flight, self.begun = turns, name, events, begun
        self.calls: list[Turn] = []

    def wake(self) -> None:
        if self.in_flight and (turn := self.turns.begin(self)):
            self.begun.append(self.name)
            self.in_flight = 0
            self.calls.append(turn)


def played(play: Callable[[], Coroutine[Any, Any, list[str]]]) -> list[str]:
    """Who has begun, one after the other."""
    return asyncio.run(asyncio.wait_for(play(), 20))


def three(turns: Turns) -> tuple[list[Trigger], list[str]]:
    begun: list[str] = []
    return [Trigger(turns, name, events, begun) for name, events in (("a", 1), ("b", 2), ("c", 3))], begun


def asked(turns: Turns) -> tuple[list[Trigger], list[str]]:
    """All three of them, once each has asked for a turn."""
    triggers, begun = three(turns)
    for each in triggers:
        each.wake()
    return triggers, begun


def test_without_a_limit_everybody_begins():
    async def play() -> list[str]:
        _, begun = asked(Turns())
        return begun

    assert ["a", "b", "c"] == played(play)


def test_who_has_most_events_is_next():
    async def play() -> list[str]:
        (a, _, c), begun = asked(Turns(1))
        a.calls[0].end()
        c.calls[0].end()
        return begun

    assert ["a", "c", "b"] == played(play)


def test_nobody_waits_for_long_because_others_have_more(monkeypatch):
    monkeypatch.setattr(turns, "LONGEST_WAIT", 0)

    async def play() -> list[str]:
        (a, *_), begun = asked(Turns(1))
        a.calls[0].end()
        return begun

    assert ["a", "b"] == played(play)


def test_a_call_that_hangs_is_in_nobodys_way():
    async def play() -> list[str]:
        (a, b, _), begun = three(Turns(1))
        a.wake()
        b.wake()
        while not b.calls:
            await asyncio.sleep(0)
        return begun

    assert ["a", "b"] == played(play)


def test_a_call_gives_its_place_once():
    async def play() -> list[str]:
        (a, *_), begun = asked(Turns(1))
        a.calls[0].end()
        a.calls[0].end()
        return begun

    assert ["a", "c"] == played(play)


def test_who_no_longer_wants_to_is_passed_over():
    async def play() -> list[str]:
        (a, b, c), begun = asked(Turns(1))
        c.in_flight = 0
        b.in_flight = 0
        a.calls[0].end()
        b.in_flight = 1
        b.wake()
        return begun

    assert ["a", "b"] == played(play)
