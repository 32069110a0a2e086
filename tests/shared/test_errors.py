"""Which error becomes which answer is the same for steps, REST methods, scheduled functions and dead letters."""

from contextlib import contextmanager

import pytest

from functions.ops import dead_letter
from functions.shared import database
from functions.shared.cron import scheduled
from functions.shared.errors import Busy, NotYet
from functions.shared.events import Unacceptable
from functions.shared.request import TooLarge
from functions.shared.rest import rest
from functions.shared.step import step
from schemas.answers import Simple
from schemas.events import Sale, Withdraw
from tests.kit import ask, event, send

EXPECTED = [
    (database.Unavailable("away"), 503, "1", None),
    (Busy("too much"), 503, "1", None),
    (database.Conflict("another was first"), 503, None, None),
    (database.Duplicate("twice", "key"), 503, None, None),
    (NotYet("too early"), 503, None, None),
    (Unacceptable("no event"), 500, None, "never"),
    (database.Refused("a constraint says no"), 500, None, "never"),
    (TooLarge("8 MiB"), 500, None, "never"),
    (KeyError("a bug"), 500, None, None),
]
each_error = pytest.mark.parametrize(
    ("problem", "status", "retry_after", "retry"), EXPECTED, ids=[type(problem).__name__ for problem, *_ in EXPECTED]
)


def answers(reply) -> tuple[int, str | None, str | None]:
    return reply.status, reply.headers.get("Retry-After"), reply.headers.get("X-Retry")


@each_error
def test_a_step(problem, status, retry_after, retry):
    @step
    def fails(_: Sale) -> Withdraw:
        raise problem

    assert (status, retry_after, retry) == answers(send(fails, event("pay.sale", "o1")))


@each_error
def test_a_rest_method(problem, status, retry_after, retry):
    @rest("POST", "/fails", caller="public")
    def fails() -> Simple:
        raise problem

    reply = ask(fails, path="/fails")
    assert (status, retry_after, retry) == answers(reply)
    assert status == reply.json["status"]


@each_error
def test_a_scheduled_function(problem, status, retry_after, retry):
    @scheduled()
    def fails() -> dict[str, int]:
        raise problem

    assert (status, retry_after, retry) == answers(ask(fails))


@each_error
def test_the_dead_letter_sink(problem, status, retry_after, retry, monkeypatch):
    @contextmanager
    def failing():
        raise problem
        yield

    monkeypatch.setattr(database, "transaction", failing)
    assert (status, retry_after, retry) == answers(send(dead_letter.dead_letter, event("pay.sale", "o1")))
