"""The command for what the broker has refused: list, show, send again, drop."""

from collections.abc import Iterator

import pytest
from pg8000.native import Connection

from tests.processes import run
from tools import outbox
from tools.migrate import connected

PUT = """
    INSERT INTO "order".outbox (id, event, refusal) VALUES (:id, '{}', :refusal)
"""


@pytest.fixture(scope="module")
def url(fresh_database) -> str:
    """A database of its own."""
    return fresh_database()


@pytest.fixture
def rows(url) -> Iterator[Connection]:
    """Three refused events, and one that waits."""
    with connected(url) as connection:
        connection.run('TRUNCATE "order".outbox')
        refusals = {"a": "413 too large", "b": "400 subject: expected ASCII", "c": "400 Subject: no", "d": None}
        for id, refusal in refusals.items():
            connection.run(PUT, id=id, refusal=refusal)
        yield connection


def refused(rows: Connection) -> list[str]:
    """The ids of what was refused and not sent again."""
    return [row["id"] for row in outbox.refused(rows)]


@pytest.fixture
def command(url, rows):  # noqa: ARG001 - for its rows
    return lambda *arguments: run("tools.outbox", *arguments, ADMIN_DATABASE_URL=url)


def test_refused_events_are_listed_with_the_reason(command):
    lines = command("list").stdout.splitlines()
    assert ["a", "b", "c"] == [line.split()[0] for line in lines]
    assert lines[0].endswith("an event order -: 413 too large")


def test_one_is_shown(command):
    shown = command("show", "b").stdout
    assert "400 subject: expected ASCII" in shown
    assert "{}" in shown


@pytest.mark.parametrize(
    ("arguments", "left"), [(["b"], ["a", "c"]), (["--reason", "subject"], ["a"]), (["--all"], [])]
)
def test_those_that_were_chosen_are_sent_again(command, rows, arguments, left):
    assert 0 == command("resend", *arguments).returncode
    assert left == refused(rows)
    assert 4 == rows.run('SELECT count(*) FROM "order".outbox')[0][0]


def test_one_that_nobody_needs_is_dropped(command, rows):
    assert "a: dropped\n" == command("drop", "a").stdout
    assert ["b", "c"] == refused(rows)
    assert 3 == rows.run('SELECT count(*) FROM "order".outbox')[0][0]


@pytest.mark.parametrize("arguments", [("show", "d"), ("resend", "d"), ("drop", "d"), ("drop", "nosuch")])
def test_one_that_was_not_refused_is_left_alone(command, rows, arguments):
    done = command(*arguments)
    assert (1, True) == (done.returncode, "expected the id of a refused event" in done.stderr)
    assert 4 == rows.run('SELECT count(*) FROM "order".outbox')[0][0]


def test_nothing_is_said_too(command):
    command("resend", "--all")
    assert "no refused events\n" == command("list").stdout
    assert "nothing to send\n" == command("resend", "--all").stdout
    assert 2 == command("resend").returncode
