"""Whole orders through OpenFaaS while functions come and go, and the gateway and the provider with them."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.platforms.openfaas.cluster import OpenFaaS
from tests.stories.conftest import Stage
from tests.system import eventually
from triggers.stack import by_event

# -- functions come and go ------------------------------------------------------------------------------------------


def orders(stage: Stage, guest, dish: int, count: int) -> list[str]:
    return stage.orders_at_once(guest, [stage.body(guest, dish) for _ in range(count)])


def deployment_of(system: OpenFaaS, event: str) -> str:
    """What is to be removed so that nobody takes this event."""
    function = by_event(event)
    return function.owner if system.profile.most else function.name


def dead_letters(system: OpenFaaS) -> int:
    return system.sql.value("SELECT count(*) FROM ops.dead_letters")


def test_a_function_that_is_removed_in_the_middle_of_orders_and_deployed_again_loses_none(stage, system):
    guest, dish, event = stage.new_user(1000), stage.dish(stock=100), "store.bookingFood"
    removed, before = deployment_of(system, event), dead_letters(system)
    with ThreadPoolExecutor() as threads:
        placed = threads.submit(orders, stage, guest, dish, 12)
        assert "Removing old function" in system.cli("remove", removed)
        eventually(lambda: by_event(event).name not in system.served(), "the function is no longer served")
        ids = placed.result()
    still_open = 'SELECT count(*) FROM "order".orders WHERE order_id = ANY(:ids) AND ended_at IS NULL'
    assert system.sql.value(still_open, ids=ids) > 0
    system.deploy(removed)

    assert stage.settled(*ids, seconds=120) == ["Completed"] * 12
    assert (stage.balance(guest), stage.stock(dish)) == ("694.00", 76)
    assert stage.mails(guest) == ["Заказ успешно создан"] * 12
    assert dead_letters(system) == before


def test_an_update_in_the_middle_of_orders_loses_none(stage, system):
    guest, dish, updated = stage.new_user(1000), stage.dish(stock=100), deployment_of(system, "pay.sale")
    with ThreadPoolExecutor() as threads:
        placed = threads.submit(orders, stage, guest, dish, 12)
        system.deploy(updated)
        ids = placed.result()

    assert stage.settled(*ids, seconds=120) == ["Completed"] * 12
    assert stage.balance(guest) == "694.00"


def test_a_function_that_is_killed_in_the_middle_of_orders_loses_none(stage, system):
    guest, dish, killed = stage.new_user(1000), stage.dish(stock=100), deployment_of(system, "pay.confirmSale")
    before = dead_letters(system)
    with ThreadPoolExecutor() as threads:
        placed = threads.submit(orders, stage, guest, dish, 12)
        charged = "SELECT count(*) FROM billing.charges WHERE username = :name"
        eventually(lambda: system.sql.value(charged, name=guest.username), "the first ones at work")
        (replica,) = system.provider.deployed[killed].replicas
        replica.signal(signal.SIGKILL)
        ids = placed.result()

    assert stage.settled(*ids, seconds=120) == ["Completed"] * 12
    assert stage.payments(ids[0]) == [("SALE", "25.50", "933")]
    assert dead_letters(system) == before


def test_a_gateway_that_is_killed_in_the_middle_of_orders_loses_none(stage, system):
    guest, dish = stage.new_user(1000), stage.dish(stock=100)
    before = dead_letters(system)
    ids = orders(stage, guest, dish, 12)
    gateway = system.processes["openfaas"]
    gateway.process.kill()
    gateway.process.wait()
    log = system.processes["connector"].log
    eventually(lambda: "function unavailable" in log.read_text(), "the connector pausing")
    gateway.ready = False
    gateway.start()
    system.ready("openfaas")

    assert stage.settled(*ids, seconds=120) == ["Completed"] * 12
    assert dead_letters(system) == before


def test_a_provider_that_is_away_for_a_while_loses_none_and_costs_no_tries(stage, system):
    guest, dish = stage.new_user(1000), stage.dish(stock=100)
    ids = orders(stage, guest, dish, 12)
    system.provider.pause()
    started = len(system.log_lines("connector"))
    poison = send_poison(system, "while-away")
    eventually(lambda: outages(system, started), "the connector pausing")
    system.provider.start()

    assert stage.settled(*ids, seconds=120) == ["Completed"] * 12
    assert kept(system, poison).attempts == 1


def outages(system: OpenFaaS, since: int) -> list[str]:
    outcomes = (str(line.get("outcome")) for line in lines_since(system, since))
    return [outcome for outcome in outcomes if re.match("function unavailable: (404|502)", outcome)]


def lines_since(system: OpenFaaS, number: int) -> list[dict]:
    return system.log_lines("connector")[number:]


def test_without_the_gateways_list_events_go_on(stage, system):
    """The gateway breaks off its list when its Prometheus is away; what is known is served on."""
    system.provider.prometheus_answers = False
    started = len(system.log_lines("connector"))
    eventually(lambda: any("gave no list" in line["message"] for line in lines_since(system, started)), "no list")
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish))

    assert stage.settled(order) == ["Completed"]
    system.provider.prometheus_answers = True


def test_a_sleeping_function_is_woken_by_its_event(stage, system):
    if not system.profile.from_zero:
        pytest.skip("the Community Edition does not scale to zero")
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    asleep = system.provider.deployed["delivery-booking-courier"]
    for replica in asleep.scale(0):
        replica.process.terminate()
        replica.process.wait()
    order = stage.order(guest, stage.body(guest, dish))

    assert stage.settled(order) == ["Completed"]
    assert len(asleep.replicas) == 1


def test_a_poisoned_event_is_kept_with_its_story_and_harms_no_other(system):
    dead_letter = kept(system, send_poison(system, "bad-data"))

    assert (dead_letter.function, dead_letter.attempts) == ("pay-sale", 1)
    assert dead_letter.reason.startswith("500 ")


def send_poison(system: OpenFaaS, name: str) -> str:
    """An event with data that pay-sale refuses; gives its id."""
    event = {"specversion": "1.0", "id": f"{name}-{system.profile.name}", "source": "/test", "subject": "nobody"}
    event |= {"type": "homework.arch.pay.sale", "data": {"orderId": 1}}
    headers = {"Content-Type": "application/cloudevents+json"}
    assert system.broker.post("/", json=event, headers=headers).status == 202
    return event["id"]


def kept(system: OpenFaaS, id: str) -> Any:
    """The dead letter of an event, once it is there."""
    return eventually(lambda: system.sql.row("SELECT * FROM ops.dead_letters WHERE id = :id", id=id), "dead letter")
