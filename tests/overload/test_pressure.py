"""The orders that come at a rate, and what is said about the answers."""

import pytest

from tests.overload.parts import PARTS, _judged
from tests.overload.pressure import Crowd, Seen
from tests.system import System, eventually

MAILS = "SELECT count(*) FROM notification.emails WHERE order_id = ANY(CAST(:ids AS text[]))"


@pytest.mark.usefixtures("audited")
def test_orders_come_at_their_rate_and_end(system: System):
    connection = system.sql.connected()
    try:
        crowd = Crowd(system.gateway.base, connection, guests=2)
        seen = crowd.press(10, 1.0, {process.pid: process.name for process in system.processes}, connections=8)
    finally:
        connection.close()
    assert {"200": len(seen.accepted)} == {status: n for status, n in seen.statuses.items() if status == "200"}
    assert 5 <= sum(seen.statuses.values()) <= 10 and seen.memory[0] > 50
    eventually(lambda: system.sql.value(MAILS, ids=seen.accepted) == len(seen.accepted), "their mails")


@pytest.mark.parametrize(
    ("answers", "memory", "problems"),
    [
        ({"200": [0.1], "503": [0.2]}, [500.0, 600.0], []),
        ({"200": [9.0]}, [], []),
        ({"504": [0.1]}, [], ["expected 200, 503; got {'504': 1}"]),
        ({"503": [6.0]}, [], ["expected 503 within 5 s, got it after 6.0 s (p99)"]),
        ({}, [500.0, 1000.0], ["expected at most 400 MiB more, got 500 MiB more"]),
    ],
)
def test_what_no_guest_may_see_is_reported(answers, memory, problems):
    assert problems == [*_judged(Seen(answers, memory=memory), {"200", "503"})]


def test_every_part_says_what_it_is():
    assert ["flood", "database", "memory", "alarm", "stall", "disk", "queue"] == [*PARTS]
    assert all(part.__doc__ for part in PARTS.values())
