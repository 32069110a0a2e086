"""The audit: each of its checks finds what it is for, and nothing is found in good tables."""

from contextlib import nullcontext

import pytest
from pg8000.native import DatabaseError

from tests.processes import run
from tools import audit
from tools.migrate import connected

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
    "order_paid_another_price": ["UPDATE store.reservations SET prices_bind = true WHERE order_id = 'good'"],
    "refund_does_not_fit": ["UPDATE billing.clients SET balance = 999999999999999999999999999999999999.99"],
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
    "order_was_notified_twice": [
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


def test_the_command_prints_check_meaning_and_row_and_ends_with_1(at_work):
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


def test_a_database_that_is_not_there_is_reported_in_one_line():
    done = run("tools.audit", ADMIN_DATABASE_URL="postgresql://nobody@127.0.0.1:9/food")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
