"""Orders are accepted no faster than they end."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.order import admission as rules
from functions.order.admission import Admission
from functions.shared.errors import Busy
from tests.system import Rows, eventually

ORDERS = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, redrive_at, ended_at,
                                pay_status, store_status, delivery_status, needs_attention_at)
    SELECT :prefix || n, :prefix || n, 'user1', 'a@b.c', '{}', 1,
           CASE WHEN CAST(:ended AS boolean) THEN 'Completed' ELSE 'Created' END, now(),
           CASE WHEN CAST(:ended AS boolean) THEN now() END, 'Ok', 'Ok', 'Ok',
           CASE WHEN CAST(:lost AS boolean) THEN now() END
      FROM generate_series(1, CAST(:count AS integer)) AS n
"""
END = """UPDATE "order".orders SET status = 'Completed', ended_at = now() WHERE ended_at IS NULL"""


@pytest.fixture
def orders(admin: Rows, become, monkeypatch) -> Rows:
    """Order's own database without any order, and waits that a test can wait for."""
    become("order")
    admin.rows('DELETE FROM "order".orders')
    monkeypatch.setattr(rules, "LONGEST_WAIT", 0.2)
    return admin


def there_are(rows: Rows, count: int, *, ended: bool = False, lost: bool = False) -> None:
    rows.rows(ORDERS, prefix=f"{ended}-{lost}-", count=count, ended=ended, lost=lost)


def test_a_few_open_orders_make_nobody_wait(orders, monkeypatch):
    there_are(orders, rules.ALWAYS_TAKEN - 1)
    waits = []
    monkeypatch.setattr(rules.time, "sleep", waits.append)
    Admission().wait()
    assert [] == waits


def test_many_open_orders_of_which_none_ends_are_busy(orders):
    there_are(orders, rules.ALWAYS_TAKEN)
    with pytest.raises(Busy, match="200 orders are open, and 0 end a second"):
        Admission().wait()


def test_after_a_while_a_backlog_that_is_too_long_is_busy_at_once(orders, monkeypatch):
    there_are(orders, rules.ALWAYS_TAKEN)
    admission = Admission()
    with pytest.raises(Busy):
        admission.wait()
    monkeypatch.setattr(rules, "STEP", 30)
    with pytest.raises(Busy):
        admission.wait()


def test_a_backlog_that_ends_within_the_limit_makes_one_wait_and_no_more(orders):
    there_are(orders, 400)
    there_are(orders, 100, ended=True)  # 50 a second: eight seconds of work
    began = time.monotonic()
    Admission().wait()
    assert 0.2 <= time.monotonic() - began < 5


def test_a_backlog_that_takes_longer_than_the_limit_is_busy(orders, settings):
    settings(ORDER_BACKLOG_SECONDS="7")
    there_are(orders, 400)
    there_are(orders, 100, ended=True)
    with pytest.raises(Busy, match="400 orders are open, and 50 end a second"):
        Admission().wait()


def test_the_limit_is_off_by_one_word(orders, settings):
    settings(ORDER_BACKLOG_SECONDS="off")
    there_are(orders, 400)
    Admission().wait()


def test_orders_that_need_a_person_are_no_backlog(orders):
    there_are(orders, 400, lost=True)
    Admission().wait()


def test_whoever_waits_goes_on_as_soon_as_orders_have_ended(orders, monkeypatch):
    monkeypatch.setattr(rules, "LONGEST_WAIT", 30)
    there_are(orders, 400)
    admission = Admission()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(admission.wait)
        eventually(lambda: admission._standing.open == 400, "the backlog is known")
        assert not waiting.done()
        orders.rows(END)
        assert waiting.result(timeout=5) is None


def test_orders_accepted_since_the_last_look_count_too(orders):
    there_are(orders, rules.ALWAYS_TAKEN - 2)
    admission = Admission()
    admission.wait()
    admission._standing.at = float("inf")  # nobody looks again
    admission.wait()
    with pytest.raises(Busy):
        admission.wait()


def admitted(admission: Admission, count: int) -> list[str]:
    """How so many clients fare that come together to a server with an event loop."""

    async def fare() -> str:
        try:
            await admission.admit()
        except Busy:
            return "busy"
        return "admitted"

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(fare() for _ in range(count)))

    return asyncio.run(all_of_them())


def test_on_an_event_loop_as_many_go_on_as_there_is_capacity_for(orders):
    there_are(orders, rules.ALWAYS_TAKEN - 3)
    admission = Admission()
    admission.wait()
    assert ["admitted"] * 2 + ["busy"] * 8 == admitted(admission, 10)


def test_on_an_event_loop_who_waits_goes_on_in_the_order_of_coming(orders, monkeypatch):
    monkeypatch.setattr(rules, "LONGEST_WAIT", 30)
    there_are(orders, rules.ALWAYS_TAKEN)
    admission, gone = Admission(), []

    async def come(number: int) -> None:
        await admission.admit()
        gone.append(number)

    async def story() -> None:
        waiting = [asyncio.create_task(come(number)) for number in range(20)]
        await asyncio.to_thread(eventually, lambda: admission._standing.open == rules.ALWAYS_TAKEN, "it is known")
        assert [] == gone
        await asyncio.to_thread(orders.rows, END)
        await asyncio.wait(waiting, timeout=5)

    admission._standing.open = rules.ALWAYS_TAKEN
    asyncio.run(story())
    assert list(range(20)) == gone


def test_on_an_event_loop_a_backlog_that_is_too_long_is_busy_at_once_until_it_has_ended(orders, monkeypatch):
    there_are(orders, rules.ALWAYS_TAKEN)
    admission = Admission()
    with pytest.raises(Busy):
        admission.wait()
    with monkeypatch.context() as nobody_waits:
        nobody_waits.delattr(Admission, "_turn")
        nobody_waits.setattr(rules, "LONGEST_WAIT", 0.1)  # it was too long for the first one's 0.2
        assert ["busy"] * 1000 == admitted(admission, 1000)
    orders.rows(END)
    eventually(lambda: admitted(admission, 1) == ["admitted"], "orders are accepted again")


def test_on_an_event_loop_nobody_waits_behind_more_than_can_go_on_in_time(orders, monkeypatch):
    monkeypatch.setattr(rules, "LONGEST_WAIT", 1.0)
    there_are(orders, 400)
    there_are(orders, 100, ended=True)  # 50 a second
    admission = Admission()
    admission._looked()
    fates = admitted(admission, rules.ALWAYS_TAKEN + 50)
    assert 50 == fates.count("busy")


def test_who_was_admitted_waits_no_more(orders, monkeypatch):
    monkeypatch.setattr(rules, "LONGEST_WAIT", 30)
    there_are(orders, rules.ALWAYS_TAKEN)
    Admission().wait(admitted=True)


def test_a_client_gets_503_and_when_to_come_again_and_nothing_is_kept(system, new_user):
    user = new_user(balance=10)
    system.sql.rows(ORDERS, prefix="stuck-", count=300, ended=False, lost=False)
    try:
        body = {"msgId": "busy", "amount": 1, "userName": user.username, "dishs": [{"menuId": 1, "count": 1}],
                "deliveryDate": "03.02.2023", "deliveryHour": 1}  # fmt: skip
        answer = eventually(lambda: refused(system, body, user.token), "the backlog is seen")
        assert ("1", "Service Unavailable") == (answer.headers["Retry-After"], answer.json["error"])
        assert 200 == system.function("order-submit").get("/_/ready").status
        body["msgId"] = "busy-2"
        assert 503 == order(system, body, user.token).status
        assert 0 == system.sql.value("""SELECT count(*) FROM "order".orders WHERE msg_id = 'busy-2'""")
    finally:
        system.sql.rows("""DELETE FROM "order".orders WHERE order_id LIKE 'stuck-%'""")
    eventually(lambda: order(system, body, user.token).status == 200, "orders are accepted again")


def order(system, body, token):
    return system.gateway.post("/ui-api-service/api/v1/external/order", json=body, token=token)


def refused(system, body, token):
    answer = order(system, body, token)
    return answer if answer.status == 503 else None
