"""An event is lost at one hop of the chain, whichever: the order stands still, and the re-drive heals it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.processes import end
from tests.stories.conftest import BACK, END, FORWARD, Stage
from tests.system import System, eventually
from tools.local.children import Child
from triggers.stack import by_event

# The event that gets lost, and the step whose answer it is; without one it comes out of the outbox.
HOPS = {
    "order.newOrder": None,
    "pay.sale": "order-new-order",
    "billing.withdraw": "pay-sale",
    "pay.confirmSale": "billing-withdraw",
    "store.bookingFood": "pay-confirm-sale",
    "delivery.bookingCourier": "store-booking-food",
    "store.cancelBookingFood": "delivery-booking-courier",
    "pay.refund": "store-cancel-booking-food",
    "billing.refund": "pay-refund",
    "order.result": "billing-refund",
    "notification.email": None,
}


@pytest.fixture(scope="module", autouse=True)
def _waiting_for_deliveries(system: System) -> Iterator[None]:
    """As on a cluster: a dispatcher that begins before the delivery loses nothing to an empty queue."""
    broker = system.process("broker")
    before = broker.environment
    restart(system, broker, {**before, "DISPATCHER_AHEAD": "false"})
    yield
    restart(system, broker, before)


def restart(system: System, process: Child, environment: dict[str, str]) -> None:
    end(process)
    process.environment = environment
    system.start_process(process.name)


@contextmanager
def unbound(stage: Stage, event: str) -> Iterator[None]:
    """Events of this type find no queue, and are gone."""
    function, channel = by_event(event), stage.system.channel()
    match = {"x-match": "all", "x-knative-trigger": function.name, "type": function.event_type}
    channel.queue_unbind(stage.system.queue(event), "food.events", "", match)
    try:
        yield
    finally:
        channel.queue_bind(stage.system.queue(event), "food.events", "", match)
        channel.connection.close()


def is_lost(stage: Stage, order: str, event: str, sender: str | None) -> bool:
    """Whether the event was sent, to nobody."""
    if sender is None:
        lines = [line for line in stage.system.log_lines("broker") if line.get("outcome") == 202]
        return any(line.get("type") == by_event(event).event_type and line.get("order") == order for line in lines)
    done = [line for line in stage.system.log_lines("broker") if line.get("outcome") == "done"]
    return any(line["function"] == sender and line.get("order") == order for line in done)


@pytest.mark.parametrize(("event", "sender"), HOPS.items(), ids=HOPS)
def test_an_order_whose_event_was_lost_is_driven_on(stage: Stage, event: str, sender: str | None):
    guest, dish, day = stage.new_user(100), stage.dish(stock=10), stage.busy_day()
    with unbound(stage, event):
        order = stage.order(guest, stage.body(guest, dish, deliveryDate=day))
        eventually(lambda: is_lost(stage, order, event, sender), f"{event} to be lost")
    assert stage.trace(order) == before(event)

    driven = stage.redrive(order)
    assert (1, 0) == (driven["orders"] + driven["notifications"], driven["needing_attention"])
    assert stage.settled(order) == ["Canceled"]
    assert stage.trace(order) == [*FORWARD, *BACK, "billing.refund", *END]
    assert stage.balance(guest) == "100.00"
    assert stage.stock(dish) == 10
    assert len(stage.mails(guest)) == 1


def before(event: str) -> list[str]:
    """The steps that have worked when `event` is lost."""
    all_steps = [*FORWARD, *BACK, "billing.refund", *END]
    function = by_event(event)
    return all_steps[: all_steps.index(f"{function.owner}.{function.target}")]


def test_an_order_that_was_notified_is_not_driven_on_again(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    order = stage.order(guest, stage.body(guest, dish))
    stage.settled(order)

    assert stage.redrive(order)["notifications"] == 0
    notified = stage.system.sql.value('SELECT notified_at FROM "order".orders WHERE order_id = :id', id=order)
    assert notified is not None
    assert stage.redrive(order) == {"orders": 0, "notifications": 0, "needing_attention": 0}


def test_an_order_that_no_try_can_end_asks_for_attention(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    with unbound(stage, "pay.sale"):
        order = stage.order(guest, stage.body(guest, dish))
        eventually(lambda: is_lost(stage, order, "pay.sale", "order-new-order"), "pay.sale to be lost")
    stage.system.sql.rows('UPDATE "order".orders SET redrives = 20 WHERE order_id = :id', id=order)
    assert stage.redrive(order) == {"orders": 0, "notifications": 0, "needing_attention": 1}
    assert stage.found(guest, order)["needsAttention"] is True

    stage.system.sql.rows('UPDATE "order".orders SET redrives = 0 WHERE order_id = :id', id=order)
    stage.redrive(order)
    assert stage.settled(order) == ["Completed"]
