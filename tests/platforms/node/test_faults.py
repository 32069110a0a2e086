"""A program of Knative's broker is killed, is away, or loses RabbitMQ: every order ends once all the same."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import User
from tests.platforms.node.installed import INGRESS, PROGRAMS, Installed
from tests.stories.conftest import END, FORWARD, Stage
from tests.stories.test_crashes import flushed, forty_orders_end_once
from tests.system import eventually
from triggers.stack import by_event

OUTBOX = 'SELECT count(*) FROM "order".outbox'
OPEN = """
    SELECT count(*) FROM "order".orders LEFT JOIN notification.emails USING (order_id)
     WHERE ended_at IS NULL OR delivered_at IS NULL
"""


def kill_a_dispatcher(system: Installed) -> None:
    kill(system, "store-booking-food-dispatcher")


def kill_all_programs_of_the_broker(system: Installed) -> None:
    kill(system, "")


def kill(system: Installed, pods: str) -> None:
    """Kill the broker's programs in these pods; they are started again by whoever keeps them running."""
    for each in (found for name in PROGRAMS for found in system.cluster.kubelet.containers(pods, name)):
        each.signal(signal.SIGKILL)
    system.ready()


def restart_rabbitmq(system: Installed) -> None:
    system.rabbitmq.restart()
    system.ready()


PLUGS: dict[str, Callable[[Installed], None]] = {
    "a dispatcher is killed": kill_a_dispatcher,
    "all their programs are killed": kill_all_programs_of_the_broker,
}


@pytest.mark.parametrize("plug", PLUGS.values(), ids=PLUGS)
def test_every_order_ends_once_although(stage: Stage, plug: Callable[[Installed], None]):
    forty_orders_end_once(stage, lambda on: plug(on.system), lambda: flushed(stage))


def test_every_order_ends_once_although_rabbitmq_is_restarted(stage: Stage):
    forty_orders_end_once(stage, lambda on: restart_rabbitmq(on.system), lambda: scheduled(stage))


def scheduled(stage: Stage) -> bool:
    """Call what cron calls for orders; whether every order has ended and its client notified."""
    for name in ("order-flush", "order-redrive"):
        stage.system.function(name).post()
    return not stage.system.sql.value(OPEN)


def test_orders_that_are_accepted_while_the_ingress_is_away_end_once(stage: Stage):
    system, guest, dish = stage.system, stage.new_user(1000), stage.dish(stock=20)
    with system.away(*INGRESS):
        orders = stage.orders_at_once(guest, [stage.body(guest, dish) for _ in range(10)])
        assert 10 == system.sql.value(OUTBOX)

    eventually(lambda: flushed(stage), "the outbox empty")
    assert ["Completed"] * 10 == stage.settled(*orders)
    assert (0, 10) == (stage.stock(dish), len(stage.mails(guest)))


@contextmanager
def locked(stage: Stage, guest: User) -> Iterator[None]:
    """Billing has to wait for the guest's account."""
    connection = stage.system.sql.connected()
    connection.run("BEGIN")
    connection.run("SELECT 1 FROM billing.clients WHERE username = :name FOR UPDATE", name=guest.username)
    try:
        yield
    finally:
        connection.run("ROLLBACK")
        connection.close()


def waits_for_a_lock(stage: Stage) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'billing' AND wait_event_type = 'Lock'"
    return stage.system.sql.value(waiting) > 0


def handled(stage: Stage, event_type: str, order: str) -> int:
    """How often a step has answered an event of this order."""
    step = by_event(event_type)
    logged = stage.system.log(f"{step.owner}-0")
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{") and line.endswith("}")]
    wanted = {"type": step.event_type, "order": order, "outcome": "handled"}
    return sum(wanted.items() <= line.items() for line in lines)


def test_an_event_that_is_delivered_again_takes_no_money_twice(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    with locked(stage, guest):
        order = stage.order(guest, stage.body(guest, dish))
        eventually(lambda: waits_for_a_lock(stage), "billing at work on the event")
        stage.system.dispatcher("billing-withdraw").signal(signal.SIGKILL)

    assert stage.settled(order) == ["Completed"]
    eventually(lambda: handled(stage, "billing.withdraw", order) == 2, "the second delivery")
    assert stage.balance(guest) == "74.50"
    assert stage.trace(order) == [*FORWARD, *END]


def test_every_event_of_an_order_sent_once_more_does_nothing(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish))
    stage.settled(order)
    for event in stage.events(order):
        headers = {"Content-Type": "application/cloudevents+json"}
        assert stage.system.broker.post("/", data=event, headers=headers).status == 202

    # Each is answered as before, so every event of the chain starts the rest of it once more.
    eventually(lambda: handled(stage, "order.result", order) == 1 + len(FORWARD) + 1, "the chains' ends")
    eventually(lambda: handled(stage, "notification.email", order) > 1, "the mail's event")
    assert stage.trace(order) == [*FORWARD, *END]
    assert stage.payments(order) == [("SALE", "25.50", "933")]
    assert stage.balance(guest) == "74.50"
    assert stage.stock(dish) == 8
    assert stage.mails(guest) == ["Заказ успешно создан"]


def test_health_sees_whether_their_ingress_is_there(system: Installed, stage: Stage):  # noqa: ARG001 - it is at work
    assert system.gateway.get("/health").json["status"] == "UP"
    with system.away(*INGRESS):
        assert system.gateway.get("/health/readiness").json["components"]["broker"] == {"status": "DOWN"}
    eventually(lambda: system.gateway.get("/health").json["status"] == "UP", "UP again")


def test_their_logs_do_not_say_who_ordered_what(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    order = stage.order(guest, stage.body(guest, dish))
    assert stage.settled(order) == ["Completed"]

    logs = "".join(stage.system.cluster.kubelet.log("", name) for name in PROGRAMS)
    assert [guest.username in logs, guest.email in logs, str(dish) in logs] == [False, False, False]
