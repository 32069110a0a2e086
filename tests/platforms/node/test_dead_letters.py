"""What Knative's dispatchers give up comes to our sink of dead letters, and can be sent again from there."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from functions.shared.events import STRUCTURED
from tests.platforms.broker.topology import Trigger
from tests.platforms.node.installed import INGRESS, Installed
from tests.platforms.node.test_faults import locked, waits_for_a_lock
from tests.stories.conftest import Stage
from tests.system import eventually
from tools.dead_letters import find, replay
from tools.generate.manifests import knative
from triggers.stack import DEAD_LETTERS, by_event, load

SINK = next(function for function in load() if function.topic == DEAD_LETTERS)
BAD = """{"specversion": "1.0", "type": "homework.arch.order.newOrder", "source": "/story", "id": "%s",
          "subject": "%s", "data": {"orderId": "%s", "amount": "a lot"}}"""


@pytest.fixture(scope="module", autouse=True)
def soon(system: Installed) -> Iterator[None]:
    """Four tries within seconds, and not nine within two minutes as the manifests have it."""
    # A dispatcher knows tenths of a second: at the first failure of an event it panics when it is to wait for less.
    system.deliver(backoffDelay="PT0.1S", retry=3, timeout="PT5S")
    yield
    system.deliver(**knative.DELIVERY)


def dead_letter_of(system: Installed, times: int = 1, **facts: str) -> Any:
    """The dead letter with this id or subject, once it was kept so many times."""
    ((column, value),) = facts.items()
    asked = f"SELECT * FROM ops.dead_letters WHERE {column} = :value AND times = :times"
    return eventually(lambda: system.sql.row(asked, value=value, times=times), f"the dead letter of {value}", 90)


def sent_again(system: Installed, number: int) -> None:
    """What the command for dead letters does."""
    connection = system.sql.connected()
    try:
        (dead_letter,) = find(connection, number)
        replay(connection, dead_letter, system.broker.base)
    finally:
        connection.close()


def test_an_event_that_nobody_can_handle_is_kept_with_function_and_code(stage: Stage):
    bad = f"bad-{stage.dish()}"
    sent = stage.system.broker.post("/", data=BAD % (bad, bad, bad), headers={"Content-Type": STRUCTURED})
    assert sent.status == 202
    dead_letter = dead_letter_of(stage.system, id=bad)

    assert (dead_letter.function, dead_letter.reason, dead_letter.subject) == ("order-new-order", "500", bad)
    assert '"amount": "a lot"' in dead_letter.event
    assert "knativeerror" not in dead_letter.event
    sent_again(stage.system, dead_letter.number)
    assert dead_letter_of(stage.system, times=2, id=bad).replayed_at is None


def test_an_event_whose_function_was_away_too_long_is_kept_and_goes_on_when_sent_again(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    with stage.system.away("store-0", "user-container"):
        order = stage.order(guest, stage.body(guest, dish))
        dead_letter = dead_letter_of(stage.system, subject=order)
    assert (dead_letter.function, dead_letter.reason) == ("store-booking-food", "no answer")
    assert stage.status(order) == "Created"

    sent_again(stage.system, dead_letter.number)
    assert stage.settled(order) == ["Completed"]
    assert stage.stock(dish) == 8


def test_an_order_whose_event_found_no_ingress_for_too_long_is_driven_on(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    with ExitStack() as outage:
        with locked(stage, guest):
            order = stage.order(guest, stage.body(guest, dish))
            eventually(lambda: waits_for_a_lock(stage), "billing at work on the event")
            outage.enter_context(stage.system.away(*INGRESS))
        dead_letter = dead_letter_of(stage.system, subject=order)

    # The step has done its work and its answer is lost: the event that caused it is the dead letter.
    assert dead_letter.function == "billing-withdraw"
    assert stage.balance(guest) == "74.50"
    assert stage.redrive(order)["orders"] == 1
    assert stage.settled(order) == ["Completed"]
    assert stage.balance(guest) == "74.50"


def test_what_rabbitmq_itself_gives_up_goes_to_the_sink_too(stage: Stage):
    system = stage.system
    trigger = next(each for each in system.triggers if each.function == by_event("order.result"))
    lost = f"rejected-{stage.dish()}"
    channel = system.channel()
    with system.away(f"{trigger.function.name}-dispatcher"):
        reject_one(system, channel, trigger, lost)

    assert dead_letter_of(system, id=lost).function == "unknown"
    channel.connection.close()


def reject_one(system: Installed, channel: Any, trigger: Trigger, id: str) -> None:
    """Take an event with this id off the trigger's queue, and refuse it: the policy says where it goes."""
    event = BAD.replace("order.newOrder", "order.result") % (id, id, id)
    assert system.broker.post("/", data=event, headers={"Content-Type": STRUCTURED}).status == 202
    method, _, _ = eventually(lambda: taken(channel, trigger.queue), "the event")
    channel.basic_reject(method.delivery_tag, requeue=False)


def taken(channel: Any, queue: str) -> tuple | None:
    message = channel.basic_get(queue)
    return message if message[0] else None


def test_a_dead_letter_outlives_a_sink_that_is_away_for_longer_than_the_retries(stage: Stage):
    bad = f"bad-{stage.dish()}"
    with stage.system.away(f"{SINK.owner}-0", "user-container"):
        stage.system.broker.post("/", data=BAD % (bad, bad, bad), headers={"Content-Type": STRUCTURED})
        eventually(lambda: any("event taken" in one and bad in one for one in log_lines(stage)), "it to be taken", 90)

    assert dead_letter_of(stage.system, id=bad).function == "order-new-order"


def log_lines(stage: Stage) -> list[str]:
    return stage.system.log("dead-letters").splitlines()
