"""Requests are worked on together where they come while others are worked on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from functions.shared.request import Request
from triggers import grouped
from triggers.grouped import Grouped

OK = ("", 204, {})


class Thread:
    """Its first call ends when the test says so; remembers which requests went together."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.handled: list[str] = []
        self.go_on = asyncio.Event()
        self.problem: Exception | None = None

    def handle(self, request: Request) -> tuple[str, int, dict]:
        self.handled.append(request.path)
        if request.path == "/wrong":
            raise RuntimeError("a bug")
        return OK

    async def call(self, work: Callable[[], list[Any]]) -> list[Any]:
        self.handled = []
        self.groups.append(self.handled)
        is_first = len(self.groups) == 1
        if self.problem:
            raise self.problem
        answers = work()
        if is_first:
            await self.go_on.wait()
        return answers


def asked(group: Grouped, *paths: str) -> list[asyncio.Task]:
    return [asyncio.create_task(group.answer(Request("POST", path))) for path in paths]


async def begun(thread: Thread, count: int) -> None:
    while len(thread.groups) < count:
        await asyncio.sleep(0)


def played(story: Callable[[Thread, Grouped], Any]) -> Thread:
    async def play() -> Thread:
        thread = Thread()
        await asyncio.wait_for(story(thread, Grouped(thread.handle, thread)), 20)
        return thread

    return asyncio.run(play())


def test_what_comes_at_once_goes_together_and_what_comes_meanwhile_goes_next():
    async def story(thread: Thread, group: Grouped) -> None:
        first = asked(group, "/a", "/b")
        await begun(thread, 1)
        meanwhile = asked(group, "/c", "/d", "/e")
        while group.in_flight < 3:
            await asyncio.sleep(0)
        assert 3 == group.in_flight
        thread.go_on.set()
        assert [OK] * 5 == await asyncio.gather(*first, *meanwhile)

    assert [["/a", "/b"], ["/c", "/d", "/e"]] == played(story).groups


def test_a_group_that_hangs_is_in_nobodys_way():
    async def story(thread: Thread, group: Grouped) -> None:
        hanging = asked(group, "/a")
        await begun(thread, 1)
        assert [OK] == await asyncio.gather(*asked(group, "/b"))
        thread.go_on.set()
        await asyncio.gather(*hanging)

    assert [["/a"], ["/b"]] == played(story).groups


def test_no_group_is_larger_than_it_may_be(monkeypatch):
    monkeypatch.setattr(grouped, "MOST", 2)

    async def story(thread: Thread, group: Grouped) -> None:
        thread.go_on.set()
        await asyncio.gather(*asked(group, "/a", "/b", "/c", "/d", "/e"))

    assert [["/a", "/b"], ["/c", "/d"], ["/e"]] == played(story).groups


def test_a_bug_is_one_requests_alone():
    async def story(thread: Thread, group: Grouped) -> None:
        thread.go_on.set()
        first, wrong, last = await asyncio.gather(*asked(group, "/a", "/wrong", "/b"), return_exceptions=True)
        assert (OK, "a bug", OK) == (first, str(wrong), last)

    played(story)


def test_where_no_thread_has_time_everybody_hears_so():
    async def story(thread: Thread, group: Grouped) -> None:
        thread.problem = TimeoutError("no thread")
        for one in asked(group, "/a", "/b"):
            with pytest.raises(TimeoutError):
                await one
        thread.problem = None
        thread.go_on.set()
        assert [OK] == await asyncio.gather(*asked(group, "/c"))

    played(story)


def test_a_client_that_goes_away_takes_nothing_from_the_others():
    async def story(thread: Thread, group: Grouped) -> None:
        gone, stays = asked(group, "/a", "/b")
        await begun(thread, 1)
        gone.cancel()
        thread.go_on.set()
        assert OK == await stays

    played(story)
