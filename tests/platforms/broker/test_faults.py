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
    kill(system, system.plane.ingress, *system.plane.dispatchers, *system.plane.buriers)


def stop_the_ingress_for_a_while(system: OnKnative) -> None:
    system.plane.stop(system.plane.ingress)
    eventually(lambda: system.sql.value(OUTBOX) > 1, "orders to wait in the outbox")
    system.plane.start(system.plane.ingress)
    system.ready()


def restart_rabbitmq(system: OnKnative) -> None:
    system.rabbitmq.restart()
    system.ready()


PLUGS: dict[str, Callable[[OnKnative], None]] = {
    "a dispatcher is killed": kill_a_dispatcher,
    "all their programs are killed": kill_everything,
    "the ingress is stopped for a while": stop_the_ingress_for_a_while,
}


@pytest.mark.parametrize("plug", PLUGS.values(), ids=PLUGS)
def test_every_order_ends_once_although(stage: Stage, plug: Callable[[OnKnative], None]):
    forty_orders_end_once(stage, lambda on: plug(on.system), lambda: flushed(stage))


def test_every_order_ends_once_although_rabbitmq_is_restarted(stage: Stage):
    forty_orders_end_once(stage, lambda on: restart_rabbitmq(on.system), stage.system.clock)


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


def answered_again(stage: Stage, function: str, order: str) -> int:
    """How often a step has met an event of this order that it had handled before."""
    lines = stage.system.log_lines(function)
    return sum(line.get("order") == order and line.get("outcome") == "answered again" for line in lines)


def test_an_event_that_is_delivered_again_takes_no_money_twice(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    with locked(stage, guest):
        order = stage.order(guest, stage.body(guest, dish))
        eventually(lambda: waits_for_a_lock(stage), "billing to have the event in hand")
        stage.system.plane.dispatcher("billing-withdraw").signal(signal.SIGKILL)

    assert stage.settled(order) == ["Completed"]
    eventually(lambda: answered_again(stage, "billing-withdraw", order), "the second delivery")
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
    eventually(lambda: answered_again(stage, "order-result", order) == len(FORWARD) + 1, "the chains' ends")
    eventually(lambda: answered_again(stage, "notification-send-email", order), "the mail's event")
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
