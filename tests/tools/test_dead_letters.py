"""The command for dead letters: list, show, replay."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pg8000.native import Connection

from functions.shared import exact_json
from tests.processes import run
from tools import dead_letters
from tools.generate import schemas
from tools.migrate import connected


@pytest.fixture(scope="module")
def url(fresh_database) -> str:
    """A database of its own."""
    return fresh_database()


@contextmanager
def broker(status: int = 202, bad: str = "nothing"):
    """A broker that answers with `status`, or 400 to what has `bad` in it: its address, and what it was sent."""
    taken: list[dict] = []

    class Ingress(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(exact_json.loads(body))
            self.send_response(400 if bad.encode() in body else status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Ingress)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()


KEEP = """
    INSERT INTO ops.dead_letters (function, source, id, type, subject, event, reason, attempts)
    VALUES (:function, '/test', :function, 'homework.arch.billing.withdraw', 'order-1', :event, :reason, 5)
"""


@pytest.fixture
def no_dead_letters(url) -> Iterator[Connection]:
    with connected(url) as connection:
        connection.run("TRUNCATE ops.dead_letters RESTART IDENTITY")
        yield connection


@pytest.fixture
def three_dead_letters(no_dead_letters) -> Connection:
    event = (schemas.SCHEMAS / "events/billing.withdraw.example.json").read_text("utf-8")
    for function, reason in (("a", "503 lock timeout"), ("b", "500 wrong data"), ("c", "503 Lock timeout")):
        no_dead_letters.run(KEEP, function=function, event=event, reason=reason)
    return no_dead_letters


def waiting(connection) -> list[int]:
    return [dead_letter["number"] for dead_letter in dead_letters.find(connection)]


@pytest.mark.usefixtures("three_dead_letters")
def test_dead_letters_that_wait_are_listed_with_their_reason(url):
    done = run("tools.dead_letters", "list", ADMIN_DATABASE_URL=url)

    assert len(done.stdout.splitlines()) == 3
    assert "homework.arch.billing.withdraw order order-1 at b: 500 wrong data" in done.stdout


@pytest.mark.usefixtures("three_dead_letters")
def test_a_dead_letter_is_shown_with_its_event(url):
    done = run("tools.dead_letters", "show", "2", ADMIN_DATABASE_URL=url)

    assert "reason:      500 wrong data" in done.stdout
    assert '"amount": 76.09' in done.stdout


def test_a_replayed_dead_letter_waits_no_longer_and_is_still_listed_with_all(url, three_dead_letters):
    with broker() as (address, taken):
        done = run("tools.dead_letters", "replay", "2", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert done.stdout == "2: homework.arch.billing.withdraw replayed\n"
    assert [event["type"] for event in taken] == ["homework.arch.billing.withdraw"]
    assert waiting(three_dead_letters) == [1, 3]
    assert len([*dead_letters.find(three_dead_letters, everything=True)]) == 3


def test_dead_letters_are_replayed_by_words_of_their_reason(url, three_dead_letters):
    with broker() as (address, taken):
        run("tools.dead_letters", "replay", "--reason", "lock timeout", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert len(taken) == 2
    assert waiting(three_dead_letters) == [2]


def test_all_dead_letters_are_replayed(url, three_dead_letters):
    with broker() as (address, taken):
        run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert len(taken) == 3
    assert waiting(three_dead_letters) == []


def test_a_dead_letter_that_the_broker_refuses_is_not_marked(url, three_dead_letters):
    with broker(status=503) as (address, _):
        done = run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert done.returncode == 1
    assert "the broker answered 503" in done.stderr
    assert waiting(three_dead_letters) == [1, 2, 3]


def test_one_that_the_broker_never_takes_holds_up_no_other(url, three_dead_letters):
    event = exact_json.dumps({"specversion": "1.0", "id": "x", "source": "/x", "type": "refused"})
    three_dead_letters.run("UPDATE ops.dead_letters SET event = :event WHERE number = 2", event=event)
    with broker(bad="refused") as (address, taken):
        done = run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "2: homework.arch.billing.withdraw not replayed: the broker answered 400",
        "dead letters: 1 not replayed, 2 replayed",
    ]
    assert len(taken) == 3
    assert waiting(three_dead_letters) == [2]


def test_what_is_no_event_is_shown_and_not_replayed(url, three_dead_letters):
    event = '{"specversion":"1.0","id":"x","source":"/x","type":"x","data_base64":"aGkg/w=="}'
    change = "UPDATE ops.dead_letters SET event = :event, type = 'homework.arch.ops.unreadable' WHERE number = 2"
    three_dead_letters.run(change, event=event)
    with broker() as (address, taken):
        done = run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)
    shown = run("tools.dead_letters", "show", "2", ADMIN_DATABASE_URL=url)

    assert (done.returncode, len(taken), waiting(three_dead_letters)) == (1, 2, [2])
    assert "2: homework.arch.ops.unreadable not replayed: it is no CloudEvent" in done.stderr
    assert shown.stdout.splitlines()[-1] == "hi \\xff"


def test_hundreds_are_read_some_at_a_time(url, no_dead_letters):
    for number in range(dead_letters.AT_A_TIME + 5):
        no_dead_letters.run(KEEP, function=f"f{number}", event="{}", reason="r")
    with broker() as (address, taken):
        run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert len(taken) == dead_letters.AT_A_TIME + 5
    assert waiting(no_dead_letters) == []


def test_without_a_broker_nothing_is_marked(url, three_dead_letters):
    done = run("tools.dead_letters", "replay", "1", ADMIN_DATABASE_URL=url, BROKER_URL="http://127.0.0.1:9")

    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert waiting(three_dead_letters) == [1, 2, 3]


@pytest.mark.usefixtures("three_dead_letters")
def test_a_number_that_there_is_not_is_reported(url):
    done = run("tools.dead_letters", "show", "99", ADMIN_DATABASE_URL=url)

    assert done.returncode == 1
    assert "expected the number of a dead letter, got 99" in done.stderr


@pytest.mark.usefixtures("no_dead_letters")
def test_no_dead_letters_is_reported_too(url):
    done = run("tools.dead_letters", "list", ADMIN_DATABASE_URL=url)

    assert done.stdout == "no dead letters that wait (--all shows replayed ones too)\n"
