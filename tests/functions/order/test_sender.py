"""Threads that send what has just been written: what they cannot keep stays in the table, and is caught up with."""

import threading
from collections.abc import Sequence

from functions.order import sender
from functions.order.sender import AT_A_TIME, MOST_TOGETHER, Sender
from tests.system import eventually


class Broker:
    """Takes what it is given when it is let; what was caught up with and crossed out is kept too."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.batches: list[list[int]] = []
        self.crossed_out: list[int] = []
        self.is_away = self.fails_to_cross_out = False
        self.caught_up = 0
        self.sender = Sender(self.send, self.cross_out, self.catch_up)

    @property
    def came(self) -> list[int]:
        return sorted(number for batch in self.batches for number in batch)

    def send(self, batch: Sequence[int]) -> tuple[list[int], bool]:
        self.batches.append([*batch])
        if self.is_away:
            return [], False
        self.ready.wait(30)
        return list(batch), True

    def cross_out(self, batch: Sequence[int]) -> None:
        if self.fails_to_cross_out:
            raise RuntimeError("no database")
        self.crossed_out += batch

    def catch_up(self) -> None:
        self.caught_up += 1

    def all_busy(self) -> None:
        """Each thread has something that is not answered yet."""
        for number in range(AT_A_TIME):
            self.sender.put(number)
            eventually(lambda number=number: self.came == [*range(number + 1)], "it on its way, beside the others")


def test_what_waits_is_sent_once_and_crossed_out_soon():
    broker = Broker()
    for number in range(250):
        broker.sender.put(number)
    broker.ready.set()
    eventually(lambda: sorted(broker.crossed_out) == [*range(250)], "all crossed out")
    assert [*range(250)] == broker.came
    assert 0 == broker.caught_up


def test_more_than_are_sent_at_a_time_wait_and_go_together():
    broker, more = Broker(), [*range(AT_A_TIME, AT_A_TIME + MOST_TOGETHER)]
    broker.all_busy()
    for number in more:
        broker.sender.put(number)
    broker.ready.set()
    eventually(lambda: len(broker.crossed_out) == AT_A_TIME + MOST_TOGETHER, "all crossed out")
    assert [more] == broker.batches[AT_A_TIME:]


def test_more_than_it_keeps_is_left_in_the_table_and_caught_up_with(monkeypatch):
    monkeypatch.setattr(sender, "MOST_WAITING", 3)
    broker = Broker()
    broker.all_busy()
    for number in range(100, 110):
        broker.sender.put(number)
    broker.ready.set()
    eventually(lambda: broker.caught_up, "caught up")
    eventually(lambda: len(broker.came) == AT_A_TIME + 3, "what it kept")
    broker.sender.put(200)
    eventually(lambda: 200 in broker.crossed_out, "the next one")
    assert [100, 101, 102, 200] == broker.came[AT_A_TIME:]
    assert 1 == broker.caught_up


def test_what_was_on_its_way_when_the_broker_went_away_does_not_say_that_it_is_back():
    broker = Broker()
    broker.sender.put(1)
    eventually(lambda: broker.came == [1], "it on its way")
    broker.is_away = True
    broker.sender.put(2)
    eventually(lambda: broker.sender._behind_since, "the next one to fail")
    broker.ready.set()
    eventually(lambda: broker.crossed_out == [1], "the first one's end")
    assert 0 == broker.caught_up
    broker.is_away = False
    broker.sender.put(3)
    eventually(lambda: broker.caught_up == 1, "caught up")


def test_what_could_not_be_crossed_out_is_caught_up_with():
    broker = Broker()
    broker.ready.set()
    broker.fails_to_cross_out = True
    broker.sender.put(1)
    eventually(lambda: broker.sender._behind_since, "it to fail")
    broker.fails_to_cross_out = False
    broker.sender.put(2)
    eventually(lambda: broker.caught_up == 1, "caught up")
    eventually(lambda: broker.crossed_out == [2], "the next one")
