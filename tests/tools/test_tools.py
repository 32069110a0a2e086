"""The commands for people: explain, audit, dead letters, and the README's own words."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pg8000.native import Connection, DatabaseError

from functions.shared import exact_json
from schemas.events import ALL
from tests.system import eventually
from tools import audit, dead_letters, explain
from tools.generate import readme, schemas
from tools.migrate import connected
from triggers.stack import ROOT, Unknown


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """A command of the project, with nothing but the given environment."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "LOCAL_DIR": "/nonexistent"} | environment,
        capture_output=True,
        text=True,
    )


# explain


def test_explain_answers_what_happens_when_billing_says_no():
    output = explain.explain("billing.withdraw")

    assert "billing-withdraw, functions/billing/withdraw.py" in output
    assert "payStatus: NotEnoughMoney, ClientNotFound" in output
    assert "writes:     billing.charges, billing.clients, billing.movements" in output
    assert "undone by:  functions/billing/refund.py" in output
    assert "make inject event=billing.withdraw" in output


@pytest.mark.parametrize("event_type", ALL)
def test_explain_knows_every_event_in_full_and_short(event_type):
    done = explain.explain(event_type)

    assert done.startswith(f"homework.arch.{event_type}\n")
    assert f"make inject event={event_type}" in done


def test_explain_knows_both_ways_that_a_courier_leads_to():
    assert "answers:    order.result\n            store.cancelBookingFood\n" in explain.explain(
        "delivery.bookingCourier"
    )


def test_explain_without_an_event_shows_the_chain_in_order():
    lines = explain.chain().splitlines()[1:]

    assert [line.split()[0] for line in lines] == list(ALL)


def test_explain_lists_the_events_that_there_are():
    with pytest.raises(Unknown, match=r"billing\.refund, billing\.withdraw.*; got billing\.gift"):
        explain.explain("billing.gift")


def test_explain_ends_with_2_for_an_unknown_event():
    done = run("tools.explain", "billing.gift")

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


# audit

OWNERS_ORDERS = """
    INSERT INTO billing.clients (username, opening, balance) VALUES ('user1', 0, 923.91);
    INSERT INTO billing.movements (username, kind, amount) VALUES ('user1', 'add', 1100), ('user1', 'withdraw', 100);

    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, pay_status, store_status,
                                delivery_status, reason, ended_at, redrive_at)
    SELECT id, id, 'user1', 'user1@example.org',
           '{"dishs": [{"menuId": 1, "count": 2}, {"menuId": 4, "count": 1}], "deliveryDate": "03.02.2023",
             "deliveryHour": 23}', 76.09, status, 'Ok', 'Ok', delivery, reason, now(), now()
      FROM (VALUES ('good', 'Completed', 'Ok', 'Заказ успешно создан'),
                   ('busy', 'Canceled', 'AllBusy', 'Все курьеры заняты. Выберите  другое время доставки.'))
        AS o (id, status, delivery, reason);

    INSERT INTO billing.charges (order_id, username, amount, status, refunded_at)
    VALUES ('good', 'user1', 76.09, 'Ok', NULL), ('busy', 'user1', 76.09, 'Ok', now());
    INSERT INTO billing.movements (username, kind, amount, order_id)
    VALUES ('user1', 'sale', 76.09, 'good'), ('user1', 'sale', 76.09, 'busy'), ('user1', 'refund', 76.09, 'busy');
    INSERT INTO pay.payments (order_id, type, username, amount)
    VALUES ('good', 'SALE', 'user1', 76.09), ('busy', 'SALE', 'user1', 76.09), ('busy', 'REFUND', 'user1', 76.09);
    INSERT INTO store.reservations (order_id, status, canceled_at) VALUES ('good', 'Ok', NULL), ('busy', 'Ok', now());
    INSERT INTO store.bookings (order_id, dish_id, count, price)
    VALUES ('good', 1, 2, 39), ('good', 4, 1, 15), ('busy', 1, 2, 39), ('busy', 4, 1, 15);
    UPDATE store.dishes SET in_stock = CASE id WHEN 1 THEN 8 ELSE 9 END WHERE id IN (1, 4);
    INSERT INTO delivery.bookings (order_id, delivery_date, delivery_hour, courier_id, status)
    VALUES ('good', '2023-02-03', 23, 1, 'Ok'), ('busy', '2023-02-03', 23, NULL, 'AllBusy');
    INSERT INTO notification.emails (order_id, username, email, message)
    SELECT order_id, username, email, reason FROM "order".orders;
"""

OPEN_ORDER = """
    UPDATE billing.clients SET balance = balance - 10;
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, redrive_at)
    VALUES ('open', 'open', 'user1', 'user1@example.org', '{"dishs": []}', 10, 'Created', now());
    INSERT INTO billing.charges (order_id, username, amount, status) VALUES ('open', 'user1', 10, 'Ok');
    INSERT INTO billing.movements (username, kind, amount, order_id) VALUES ('user1', 'sale', 10, 'open');
"""

# What breaks, and how: the check that has to find it, and the statements that do it, past every constraint.
BREAKS = {
    "balance_differs_from_what_moved": ["UPDATE billing.clients SET balance = balance + 0.01"],
    "balance_below_zero": [
        "ALTER TABLE billing.clients DROP CONSTRAINT balance_not_negative",
        "UPDATE billing.clients SET balance = -0.01",
    ],
    "charge_differs_from_movements": ["UPDATE billing.charges SET refunded_at = NULL WHERE order_id = 'busy'"],
    "payment_differs_from_movement": [
        "DELETE FROM billing.movements WHERE order_id = 'busy' AND kind = 'refund'",
    ],
    "refund_without_its_sale": [
        "ALTER TABLE pay.payments DROP CONSTRAINT a_refund_undoes_a_sale",
        "UPDATE pay.payments SET amount = 76.08 WHERE order_id = 'busy' AND type = 'REFUND'",
    ],
    "stock_differs_from_bookings": ["UPDATE store.dishes SET in_stock = in_stock - 1 WHERE id = 5"],
    "courier_has_two_orders": [
        "DROP INDEX delivery.one_order_per_hour_and_courier",
        "UPDATE delivery.bookings SET courier_id = 1, status = 'Ok' WHERE order_id = 'busy'",
    ],
    "canceled_order_holds_something": ["UPDATE store.reservations SET canceled_at = NULL WHERE order_id = 'busy'"],
    "completed_order_not_paid_once": [
        "INSERT INTO pay.payments (order_id, type, username, amount) VALUES ('good', 'REFUND', 'user1', 76.09)"
    ],
    "completed_order_without_its_food": [
        "UPDATE store.bookings SET count = 1 WHERE order_id = 'good' AND dish_id = 1",
    ],
    "completed_order_without_its_courier": [
        "UPDATE delivery.bookings SET delivery_hour = 22 WHERE order_id = 'good'",
    ],
    "end_differs_from_its_statuses": ["""UPDATE "order".orders SET status = 'Canceled' WHERE order_id = 'good'"""],
    "order_has_not_ended": [OPEN_ORDER],
    "event_was_not_sent": ["""INSERT INTO "order".outbox (id, event) VALUES ('1', '{}')"""],
    "event_was_refused": ["""INSERT INTO "order".outbox (id, event, refusal) VALUES ('1', '{}', '400')"""],
    "ended_order_without_mail": ["DELETE FROM notification.emails WHERE order_id = 'busy'"],
    "order_was_told_twice": [
        "ALTER TABLE notification.emails DROP CONSTRAINT one_mail_per_order",
        "INSERT INTO notification.emails (order_id, username, email, message) "
        "SELECT order_id, username, email, message FROM notification.emails WHERE order_id = 'good'",
    ],
    "mail_differs_from_its_order": ["UPDATE notification.emails SET message = 'Ошибка' WHERE order_id = 'good'"],
    "effect_without_an_order": [
        "INSERT INTO delivery.bookings (order_id, delivery_date, delivery_hour, courier_id, status) "
        "VALUES ('nobodys', '2023-02-03', 23, 2, 'Ok')"
    ],
    "user_without_a_balance": [
        "INSERT INTO auth.users (username, password, first_name, last_name, email, mobile_phone, confirmed_at) "
        "VALUES ('poor', 'x', 'x', 'x', 'x@example.org', '+1', now())",
        "INSERT INTO auth.user_roles SELECT id, 2 FROM auth.users WHERE username = 'poor'",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def url(fresh_database) -> str:
    """A database in which one order was completed and one canceled; nobody changes that."""
    address = fresh_database()
    with connected(address) as connection:
        connection.run(OWNERS_ORDERS)
    return address


@pytest.fixture(scope="module")
def at_work(fresh_database) -> str:
    """A database in which one order is under way."""
    address = fresh_database()
    with connected(address) as connection:
        connection.run(OWNERS_ORDERS)
        connection.run(OPEN_ORDER)
    return address


@pytest.fixture
def admin(url, monkeypatch):
    """A connection whose changes are gone after the test; the audit looks into its transaction."""
    monkeypatch.setattr(audit, "_snapshot", lambda _: nullcontext())
    with connected(url) as connection:
        connection.run("BEGIN")
        yield connection


def test_an_audit_of_good_tables_finds_nothing(admin):
    assert audit.findings(admin) == []


def test_every_check_is_broken_on_purpose_here():
    assert {check.name for check in audit.checks()} == set(BREAKS)


@pytest.mark.parametrize("check", BREAKS)
def test_an_audit_finds(admin, check):
    for statement in BREAKS[check]:
        admin.run(statement)

    assert check in {finding.check for finding in audit.findings(admin)}


def test_an_order_under_way_is_no_fault_of_a_system_at_work(admin):
    admin.run(OPEN_ORDER)

    assert audit.findings(admin, open_is_fine=True) == []


def test_an_order_that_just_ended_may_wait_for_its_mail_in_a_system_at_work(admin):
    admin.run("DELETE FROM notification.emails")

    assert audit.findings(admin, open_is_fine=True) == []
    assert len(audit.findings(admin)) == 2


def test_a_finding_names_the_row(admin):
    admin.run("UPDATE store.dishes SET in_stock = in_stock - 1 WHERE id = 5")

    (finding,) = audit.findings(admin)
    assert str(finding) == "dish_id=5, in_stock=9, held=0, opening_stock=10"


def test_an_audit_changes_nothing(url):
    with (
        connected(url) as connection,
        pytest.raises(DatabaseError, match="read-only transaction"),
        audit._snapshot(connection),
    ):
        connection.run("DELETE FROM notification.emails")


def test_the_command_says_how_many_checks_found_nothing(url):
    done = run("tools.audit", ADMIN_DATABASE_URL=url)

    assert (done.returncode, done.stdout) == (0, f"{len(BREAKS)} checks, nothing found\n")


def test_the_command_tells_check_meaning_and_row_and_ends_with_1(at_work):
    done = run("tools.audit", DATABASE_URL=at_work)

    assert done.returncode == 1
    assert "order_has_not_ended: 1\n  Every order ends.\n  - order_id=open, status=Created" in done.stdout


def test_the_command_takes_open_orders_for_fine_when_asked_to(at_work):
    assert run("tools.audit", "--open-is-fine", ADMIN_DATABASE_URL=at_work).returncode == 0


@pytest.mark.parametrize("command", [["tools.audit"], ["tools.dead_letters", "list"]])
def test_a_command_without_a_database_says_what_to_do_in_one_line(command):
    done = run(*command)

    assert done.returncode in (1, 2)
    assert "expected ADMIN_DATABASE_URL or DATABASE_URL, or a running system (make run)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_is_not_there_is_told_in_one_line():
    done = run("tools.audit", ADMIN_DATABASE_URL="postgresql://nobody@127.0.0.1:9/food")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# dead letters


@contextmanager
def broker(status: int = 202):
    """A broker that answers everything with `status`: its address, and what it was sent."""
    taken: list[dict] = []

    class Ingress(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(exact_json.loads(body))
            self.send_response(status)
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
def test_letters_that_wait_are_listed_with_their_reason(url):
    done = run("tools.dead_letters", "list", ADMIN_DATABASE_URL=url)

    assert len(done.stdout.splitlines()) == 3
    assert "homework.arch.billing.withdraw order order-1 at b: 500 wrong data" in done.stdout


@pytest.mark.usefixtures("three_dead_letters")
def test_a_letter_is_shown_with_its_event(url):
    done = run("tools.dead_letters", "show", "2", ADMIN_DATABASE_URL=url)

    assert "reason:      500 wrong data" in done.stdout
    assert '"amount": 76.09' in done.stdout


def test_a_replayed_letter_waits_no_longer_and_is_still_listed_with_all(url, three_dead_letters):
    with broker() as (address, taken):
        done = run("tools.dead_letters", "replay", "2", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert done.stdout == "2: homework.arch.billing.withdraw replayed\n"
    assert [event["type"] for event in taken] == ["homework.arch.billing.withdraw"]
    assert waiting(three_dead_letters) == [1, 3]
    assert len(dead_letters.find(three_dead_letters, everything=True)) == 3


def test_letters_are_replayed_by_words_of_their_reason(url, three_dead_letters):
    with broker() as (address, taken):
        run("tools.dead_letters", "replay", "--reason", "lock timeout", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert len(taken) == 2
    assert waiting(three_dead_letters) == [2]


def test_all_letters_are_replayed(url, three_dead_letters):
    with broker() as (address, taken):
        run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert len(taken) == 3
    assert waiting(three_dead_letters) == []


def test_a_letter_that_the_broker_refuses_is_not_marked(url, three_dead_letters):
    with broker(status=503) as (address, _):
        done = run("tools.dead_letters", "replay", "--all", ADMIN_DATABASE_URL=url, BROKER_URL=address)

    assert done.returncode == 1
    assert "the broker answered 503" in done.stderr
    assert waiting(three_dead_letters) == [1, 2, 3]


def test_without_a_broker_nothing_is_marked(url, three_dead_letters):
    done = run("tools.dead_letters", "replay", "1", ADMIN_DATABASE_URL=url, BROKER_URL="http://127.0.0.1:9")

    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert waiting(three_dead_letters) == [1, 2, 3]


@pytest.mark.usefixtures("three_dead_letters")
def test_a_number_that_there_is_not_is_told(url):
    done = run("tools.dead_letters", "show", "99", ADMIN_DATABASE_URL=url)

    assert done.returncode == 1
    assert "expected the number of a dead letter, got 99" in done.stderr


@pytest.mark.usefixtures("no_dead_letters")
def test_no_dead_letters_is_told_too(url):
    done = run("tools.dead_letters", "list", ADMIN_DATABASE_URL=url)

    assert done.stdout == "no dead letters that wait (--all shows replayed ones too)\n"


# the README

TEXT = (ROOT / "README.md").read_text("utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = "\n".join(body for language, body in FENCES if language == "sh")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def test_the_tables_of_the_readme_are_not_stale():
    assert readme.stale() == [], "run make generate"


def test_stale_tables_are_named_and_repaired():
    worn = TEXT.replace("order-list-orders", "order-gift")

    assert readme.stale(worn) != []
    assert readme.filled(worn) == readme.filled(TEXT)


def test_every_make_target_that_the_readme_names_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", COMMANDS + "\n".join(re.findall(r"`([^`\n]+)`", TEXT))))

    assert {"run", "test", "inject"} <= named
    assert named <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("document", ["README.md", "DECISIONS.md", "CHANGELOG.md"])
def test_every_file_that_a_document_names_exists(document):
    text = (ROOT / document).read_text("utf-8")
    named = re.findall(r"`((?:functions|schemas|tools|triggers|tests)/[\w./-]*)`", text)
    named += re.findall(r"\]\(([\w./-]+)\)", text)

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_function_file_and_module_of_a_command_exists():
    files = re.findall(r"--source (\S+) --target (\w+)", COMMANDS)
    modules = re.findall(r"python -m ((?:tools|triggers|schemas)\.[\w.]+)", COMMANDS)

    assert files
    assert all((ROOT / source).exists() and Path(source).stem == target for source, target in files)
    assert all((ROOT / (module.replace(".", "/") + ".py")).exists() for module in modules)


def test_every_event_and_path_of_a_command_exists():
    paths = schemas.openapi()["paths"]
    events = re.findall(r"event=(\S+)", COMMANDS)

    assert events
    assert set(events) <= set(ALL)
    assert {f"/ui-api-service/api/v1/{path}" for path in re.findall(r"\$API/([\w/]+)", COMMANDS)} <= set(paths)


# Everything of the README's order up to the questions how it went, and those questions.
ORDERING, ASKING = next(body for _, body in FENCES if "auth/registration" in body).split(
    "\ncurl -s $API/external/order/find"
)
ASKING = "curl -s $API/external/order/find" + ASKING


def shell(script: str) -> list[dict]:
    """The answers of a script of curl commands."""
    output = subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout
    answers = []
    while output:
        answer, end = json.JSONDecoder().raw_decode(output)
        answers, output = [*answers, answer], output[end:]
    return answers


@pytest.mark.skipif(not shutil.which("curl"), reason="expected curl, as the README does; found none")
def test_the_order_of_the_readme_goes_as_it_says(gateway):
    ordering = ORDERING.replace("http://127.0.0.1:8000", gateway.base)
    token = re.search(r"TOKEN=.*?'\)$", ordering, re.DOTALL | re.MULTILINE)[0]
    head = ordering[: ordering.index("curl")]

    answers = shell(ordering)
    assert answers == [json.loads(line[2:]) for line in ordering.splitlines() if line.startswith("# {")]

    def notified():
        order, mails = shell(f"{head}\n{token}\n{ASKING}")
        # Asked one after the other: the mail may have come in between.
        return order["order"]["endedAt"] and mails["emails"] and (order["order"], mails["emails"])

    order, mails = eventually(notified, "the notification of the README's order")
    assert (order["status"], order["reason"]) == ("Completed", "Заказ успешно создан")
    assert [mail["message"] for mail in mails] == ["Заказ успешно создан"]
