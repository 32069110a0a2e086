"""A program of Knative's broker is killed, is away, or loses RabbitMQ: every order ends once all the same."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import User
from tests.platforms.broker.plane import OnKnative
from tests.stories.conftest import END, FORWARD, Stage
from tests.stories.test_crashes import flushed, forty_orders_end_once
from tests.system import eventually
from tools.local.children import Child

OUTBOX = 'SELECT count(*) FROM "order".outbox'


def kill(system: OnKnative, *programs: Child) -> None:
    """They are started again by whoever keeps them running."""
    before = [program.pid for program in programs]
    for program in programs:
        program.signal(signal.SIGKILL)
    eventually(lambda: all(p.pid not in (None, was) for p, was in zip(programs, before, strict=True)), "them again")
    system.ready()


def kill_a_dispatcher(system: OnKnative) -> None:
    kill(system, system.plane.dispatcher("store-booking-food"))


def kill_everything(system: OnKnative) -> None:
    kill(system, system.plane.ingress, *system.plane.dispatchers, *system.plane.dead_letter_dispatchers)


def restart_rabbitmq(system: OnKnative) -> None:
    system.rabbitmq.restart()
    system.ready()


PLUGS: dict[str, Callable[[OnKnative], None]] = {
    "a dispatcher is killed": kill_a_dispatcher,
    "all their programs are killed": kill_everything,
}


@pytest.mark.parametrize("plug", PLUGS.values(), ids=PLUGS)
def test_every_order_ends_once_although(stage: Stage, plug: Callable[[OnKnative], None]):
    forty_orders_end_once(stage, lambda on: plug(on.system), lambda: flushed(stage))


def test_every_order_ends_once_although_rabbitmq_is_restarted(stage: Stage):
    forty_orders_end_once(stage, lambda on: restart_rabbitmq(on.system), stage.system.cron)


def test_orders_that_are_accepted_while_the_ingress_is_stopped_end_once(stage: Stage):
    system, guest, dish = stage.system, stage.new_user(1000), stage.dish(stock=20)
    system.plane.stop(system.plane.ingress)
    orders = stage.orders_at_once(guest, [stage.body(guest, dish) for _ in range(10)])
    assert 10 == system.sql.value(OUTBOX)
    system.plane.start(system.plane.ingress)
    system.ready()

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


def handled(stage: Stage, function: str, order: str) -> int:
    """How often a step has answered an event of this order."""
    lines = stage.system.log_lines(function)
    return sum(line.get("order") == order and line.get("outcome") == "handled" for line in lines)


def test_an_event_that_is_delivered_again_takes_no_money_twice(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    with locked(stage, guest):
        order = stage.order(guest, stage.body(guest, dish))
        eventually(lambda: waits_for_a_lock(stage), "billing at work on the event")
        stage.system.plane.dispatcher("billing-withdraw").signal(signal.SIGKILL)

    assert stage.settled(order) == ["Completed"]
    eventually(lambda: handled(stage, "billing-withdraw", order) == 2, "the second delivery")
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
    eventually(lambda: handled(stage, "order-result", order) == 1 + len(FORWARD) + 1, "the chains' ends")
    eventually(lambda: handled(stage, "notification-send-email", order) > 1, "the mail's event")
    assert stage.trace(order) == [*FORWARD, *END]
    assert stage.payments(order) == [("SALE", "25.50", "933")]
    assert stage.balance(guest) == "74.50"
    assert stage.stock(dish) == 8
    assert stage.mails(guest) == ["Заказ успешно создан"]


def test_health_sees_whether_their_ingress_is_there(knative: OnKnative, stage: Stage):  # noqa: ARG001 - it is at work
    assert knative.gateway.get("/health").json["status"] == "UP"
    knative.plane.stop(knative.plane.ingress)
    assert knative.gateway.get("/health/readiness").json["components"]["broker"] == {"status": "DOWN"}
    knative.plane.start(knative.plane.ingress)
    eventually(lambda: knative.gateway.get("/health").json["status"] == "UP", "UP again")
