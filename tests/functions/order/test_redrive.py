"""The re-drive: whatever stands still is driven on, each order by itself, and what no try can end is told of."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.order.flush import flush
from functions.order.redrive import BATCH, DUE, redrive
from functions.order.result import result
from functions.shared import exact_json
from tests.fakes import Call, FakeFunction
from tests.functions.order.test_outbox import REQUEST, kept, subjects
from tests.kit import ask, event, send
from tests.system import Rows, eventually

ORDERS = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, redrive_at, reason,
                                ended_at, pay_status, store_status, delivery_status)
    SELECT :prefix || n, :prefix || n, 'user1', 'user1@example.org', :request, 1,
           CASE WHEN CAST(:ended AS boolean) THEN 'Completed' ELSE 'Created' END, now() - interval '1 second', 'told',
           CASE WHEN CAST(:ended AS boolean) THEN now() END, 'Ok', 'Ok', 'Ok'
      FROM generate_series(1, CAST(:count AS integer)) AS n
"""
# Rows that an older version, or a person, may have left.
UNREADABLE = {
    "a day before the year 1000, as it was once kept": {"deliveryDate": "03.02.999"},
    "no dishes": {"dishs": []},
    "an amount that is none": {"amount": "much"},
}
OF_ALL = "SELECT count(*) FROM \"order\".orders WHERE order_id LIKE :prefix || '%' AND "


class Mails:
    """The notification's answer about mails: which of the asked orders have none."""

    def __init__(self) -> None:
        self.lacking: set[str] = set()
        self.asked: list[int] = []

    def __call__(self, call: Call) -> tuple[int, dict[str, str], bytes]:
        ids = json.loads(call.body)["orderIds"]
        self.asked.append(len(ids))
        missing = [id for id in ids if id in self.lacking]
        return 200, {}, json.dumps({"orderIds": missing}).encode()


class Driven:
    """The order's tables, and the re-drive on them."""

    def __init__(self, rows: Rows, broker: FakeFunction, mails: Mails):
        self.rows, self.broker, self.mails = rows, broker, mails

    def there_are(self, count: int, *, ended: bool = False, prefix: str = "o", **changes: Any) -> None:
        request = exact_json.dumps({**REQUEST, **changes})
        self.rows.rows(ORDERS, prefix=prefix, count=count, ended=ended, request=request)

    def again(self) -> dict[str, int]:
        """When the next try of all is due."""
        self.rows.rows("UPDATE \"order\".orders SET redrive_at = now() - interval '1 second'")
        return ask(redrive).json

    def used_up(self) -> None:
        self.rows.rows('UPDATE "order".orders SET redrives = 8')

    def count(self, condition: str, prefix: str = "o") -> int:
        return self.rows.value(OF_ALL + condition, prefix=prefix)

    def sent(self, count: int) -> list[str]:
        eventually(lambda: len(subjects(self.broker)) >= count, f"{count} events")
        return sorted(subjects(self.broker))


@pytest.fixture
def driven(broker: FakeFunction, admin: Rows, settings: Callable) -> Iterator[Driven]:
    admin.rows('DELETE FROM "order".orders')
    mails = Mails()
    notification = FakeFunction(mails).start()
    settings(FUNCTION_URL=notification.url)
    yield Driven(admin, broker, mails)
    notification.stop()


# One row does not hold up the others


@pytest.mark.parametrize("wrong", UNREADABLE.values(), ids=UNREADABLE)
def test_a_row_that_cannot_be_read_holds_up_no_other_and_asks_for_attention(driven, lines, wrong):
    driven.there_are(1, prefix="bad", **wrong)
    driven.there_are(2)
    assert {"orders": 2, "notifications": 0, "needing_attention": 1} == driven.again()
    assert ["o1", "o2"] == driven.sent(2)
    assert [1, 0] == [driven.count("needs_attention_at IS NOT NULL", prefix) for prefix in ("bad", "o")]
    assert any("order needs attention" in line and "its row cannot be read: " in line for line in lines)
    assert not any("user1@example.org" in line for line in lines)


def test_a_row_that_can_be_read_again_is_driven_on_and_was_reported_once(driven):
    driven.there_are(1, dishs=[])
    assert [1, 0] == [driven.again()["needing_attention"] for _ in range(2)]
    driven.rows.rows('UPDATE "order".orders SET request = :request', request=exact_json.dumps(REQUEST))
    assert {"orders": 1, "notifications": 0, "needing_attention": 0} == driven.again()


def test_a_notification_that_cannot_be_made_holds_up_no_other(driven):
    driven.there_are(3, ended=True)
    driven.rows.rows("UPDATE \"order\".orders SET email = 'nobody' WHERE order_id = 'o2'")
    driven.mails.lacking = {"o1", "o2", "o3"}
    assert {"orders": 0, "notifications": 2, "needing_attention": 1} == driven.again()
    assert ["o1", "o3"] == driven.sent(2)


def test_a_row_of_the_outbox_that_cannot_be_read_is_refused_and_the_others_are_sent(driven, settings):
    settings(ORDER_OUTBOX_AGE_SECONDS="0")
    driven.there_are(3)
    driven.rows.rows("UPDATE \"order\".orders SET request = '[]' WHERE order_id = 'o1'")
    put = """
        INSERT INTO "order".outbox (id, type, order_id)
        SELECT order_id, 'homework.arch.order.newOrder', order_id FROM "order".orders ORDER BY order_id
    """
    driven.rows.rows(put)
    assert {"sent": 2} == ask(flush).json
    assert ["o2", "o3"] == driven.sent(2)
    ((id, reason),) = kept(driven.rows)
    assert ("o1", True) == (id, reason.startswith("its row cannot be read: "))


# Whatever ended is settled


def test_a_late_mail_settles_an_order_whose_tries_are_used_up(driven):
    driven.there_are(1, ended=True)
    driven.used_up()
    driven.mails.lacking = {"o1"}
    assert {"orders": 0, "notifications": 0, "needing_attention": 1} == driven.again()
    assert {"orders": 0, "notifications": 0, "needing_attention": 0} == driven.again()
    assert 0 == driven.count("notified_at IS NOT NULL")
    driven.mails.lacking = set()
    driven.again()
    assert 1 == driven.count("notified_at IS NOT NULL")


def test_an_order_that_ends_after_all_needs_no_attention_and_has_all_tries_for_its_mail(driven):
    driven.there_are(1)
    driven.used_up()
    assert 1 == driven.again()["needing_attention"]
    assert 204 == send(result, event("order.result", "o1")).status
    assert 1 == driven.count("needs_attention_at IS NULL AND redrives = 0")
    driven.mails.lacking = {"o1"}
    assert 1 == driven.again()["notifications"]


def test_one_run_settles_every_order_that_is_due(driven):
    driven.there_are(2 * BATCH + 1, ended=True)
    driven.again()
    assert ([BATCH, BATCH, 1], 0) == (driven.mails.asked, driven.count("notified_at IS NULL"))


# The planner may join row by row, when it expects few: with statistics of an empty table, for example.
ROW_BY_ROW = ("hashjoin", "mergejoin", "hashagg", "sort", "material")


def test_a_batch_is_no_larger_than_it_may_be_whatever_the_plan(driven):
    driven.there_are(2 * BATCH + 1, ended=True)
    connection = driven.rows.connected()
    for way in ROW_BY_ROW:
        connection.run(f"SET enable_{way} TO off")
    connection.run('SET search_path TO "order"')
    assert BATCH == len(connection.run(DUE, open=False, tries=8, deadline=60, longest=3600))
    connection.close()


def test_one_run_reports_every_order_that_no_try_could_end(driven):
    driven.there_are(BATCH + 1)
    driven.used_up()
    assert BATCH + 1 == driven.again()["needing_attention"]


def test_open_orders_are_driven_on_a_batch_at_a_time(driven):
    driven.there_are(BATCH + 1)
    assert BATCH == driven.again()["orders"]
