"""Whole orders over Knative's own data path: the stories of everywhere, from zero, and under load."""

# ruff: noqa: F401 - pytest finds the stories here, and plays them on the stage of this folder
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import User
from tests.stories.conftest import Stage
from tests.stories.test_completed import (
    test_a_dish_that_is_named_twice_is_reserved_in_one,
    test_an_order_is_paid_cooked_delivered_and_notified,
)
from tests.stories.test_couriers_busy import test_without_a_courier_food_and_money_go_back
from tests.stories.test_crashes import insist
from tests.stories.test_dish_sold_out import test_all_dishes_are_reserved_or_none
from tests.stories.test_no_money import (
    test_without_an_account_the_payment_is_an_error,
    test_without_money_nothing_is_paid_reserved_or_delivered,
)
from tests.stories.test_no_such_dish import test_an_unknown_dish_cancels_the_order_and_the_money_is_back
from tests.stories.test_same_message import (
    test_the_same_message_a_hundred_times_at_once_is_one_order,
    test_the_same_message_twice_is_one_order,
)
from tests.system import eventually

# An order passes these, and the public host.
OF_THE_CHAIN = ("order", "pay", "billing", "store", "delivery", "notification", "public-host")
# Of which pod, named by how it begins, which container.
KILLED = {
    "a function": ("pay-00", "user-container"),
    "its queue-proxy": ("pay-00", "queue-proxy"),
    "the relay": ("relay", "relay"),
    "the public host": ("public-host", "user-container"),
}


def insisted(stage: Stage, guest: User, dish: int, count: int) -> list[str]:
    """Orders at once, by clients who send the same one again as long as they are told to come later."""
    bodies = [stage.body(guest, dish) for _ in range(count)]
    with ThreadPoolExecutor(16) as clients:
        return list(clients.map(lambda body: insist(stage, guest, body), bodies))


@pytest.mark.parametrize(("pod", "container"), KILLED.values(), ids=KILLED)
def test_what_is_killed_in_the_middle_of_orders_loses_none(stage, system, pod, container):
    guest, dish = stage.new_user(10_000), stage.dish(stock=1000)
    killed, *_ = system.cluster.kubelet.containers(pod, container)
    with ThreadPoolExecutor(1) as thread:
        placed = thread.submit(insisted, stage, guest, dish, 40)
        charged = "SELECT count(*) FROM billing.charges WHERE username = :name"
        eventually(lambda: system.sql.value(charged, name=guest.username) > 0, "the first ones at work")
        killed.signal(signal.SIGKILL)
        ids = placed.result()

    assert ["Completed"] * len(ids) == stage.settled(*ids, seconds=120)
    assert killed.restarts == 1
    assert [[("SALE", "25.50", "933")]] * len(ids) == [stage.payments(each) for each in ids]
    assert ["Заказ успешно создан"] * len(ids) == stage.mails(guest)


def test_under_load_there_are_more_pods_and_after_it_as_many_as_before(stage, system):
    guest, dish = stage.new_user(100_000), stage.dish(stock=10_000)
    ids: list[str] = []
    grown = threading.Event()

    def order_on() -> None:
        while not grown.is_set():
            ids.extend(insisted(stage, guest, dish, 50))

    with ThreadPoolExecutor(1) as thread:
        ordering = thread.submit(order_on)
        most = system.most_pods(lambda most: max(most.values()) > 1 or ordering.done(), 120)
        grown.set()
    ordering.result()
    print(f"{len(ids)} orders, pods {most}")

    assert ["Completed"] * len(ids) == stage.settled(*ids, seconds=120)
    assert max(most.values()) > 1
    eventually(lambda: max(system.scales().values()) == 1, "no more pods than before", 120, every=1)


def test_everything_falls_asleep_and_an_order_wakes_what_it_needs(stage, system):
    guest = stage.new_user(1000)
    body = stage.body(guest, stage.dish())
    system.keep_warm(0)
    system.asleep()

    began = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        placed = thread.submit(lambda: stage.settled(insist(stage, guest, body), seconds=120))
        most = system.most_pods(lambda _: placed.done(), 120)
    print(f"an order from zero: {time.monotonic() - began:.1f} s, {most}")

    assert ["Completed"] == placed.result()
    assert "974.50" == stage.balance(guest)
    assert {name: 1 for name in OF_THE_CHAIN} == {name: min(most[name], 1) for name in OF_THE_CHAIN}
    system.asleep()
