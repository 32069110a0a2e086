"""The thread that sends what has just been written: what it cannot keep stays in the table, and is caught up with."""

import threading
from collections.abc import Sequence

from functions.order import sender
from functions.order.sender import Sender
from tests.system import eventually


class Broker:
    """Takes what it is given when it is let; what was caught up with and crossed out is kept too."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.taken: list[int] = []
        self.crossed_out: list[int] = []
        self.caught_up = 0
        self.sender = Sender(self.send, self.crossed_out.extend, self.catch_up)

    def send(self, batch: Sequence[int]) -> tuple[list[int], bool]:
        self.ready.wait(30)
        self.taken += batch
        return list(batch), True

    def catch_up(self) -> None:
        self.caught_up += 1


def test_what_waits_is_sent_in_its_order_and_crossed_out_soon():
    broker = Broker()
    for number in range(250):
        broker.sender.put(number)
    broker.ready.set()
    eventually(lambda: broker.crossed_out == [*range(250)], "all crossed out")
    assert [*range(250)] == broker.taken
    assert 0 == broker.caught_up


def test_more_than_it_keeps_is_left_in_the_table_and_caught_up_with(monkeypatch):
    monkeypatch.setattr(sender, "MOST_WAITING", 3)
    broker = Broker()
    for number in range(10):
        broker.sender.put(number)
    broker.ready.set()
    eventually(lambda: broker.caught_up, "caught up")
    assert 3 <= len(broker.taken) <= 4
    broker.sender.put(10)
    eventually(lambda: 10 in broker.taken, "the next one")
    assert 1 == broker.caught_up
