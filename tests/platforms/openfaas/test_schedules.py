"""Schedules: every scheduled function is found in the gateway's list, and answers the connector's call."""

import pytest

from tests.platforms.openfaas.cluster import OpenFaaS
from tests.stories.conftest import Stage
from tests.system import OURS, Http, eventually
from triggers.cron import next_run
from triggers.stack import load

SCHEDULED = [function.name for function in load() if function.schedule]
WAITING = 'SELECT count(*) FROM "order".outbox'


def by_cron(system: OpenFaaS, name: str):
    """Call a function as our cron does, through the gateway and without a body."""
    one = next(one for one in system.listed() if one["name"] == name)
    return Http(system.openfaas.base).post(f"/function/{one['name']}.{one['namespace']}", headers=OURS)


def test_the_list_names_every_scheduled_function_with_a_schedule(system: OpenFaaS):
    notes = {one["name"]: one["annotations"] for one in system.listed()}
    listed = {name: note["schedule"] for name, note in notes.items() if "schedule" in note}

    assert {function.name: function.schedule for function in load() if function.schedule} == listed


@pytest.mark.parametrize("name", SCHEDULED)
def test_it_answers_cron(system, name):
    answer = by_cron(system, name)

    assert (200, True) == (answer.status, all(isinstance(count, int) for count in answer.json.values()))


@pytest.mark.parametrize("schedule", sorted({function.schedule for function in load() if function.schedule}))
def test_a_schedule_has_the_form_that_both_clocks_know(schedule):
    from datetime import UTC, datetime

    assert next_run(schedule, datetime.now(UTC)) > datetime.now(UTC)
    assert schedule.startswith("@every ") or len(schedule.split()) == 5


def test_an_order_whose_broker_was_away_is_sent_by_cron(stage: Stage, system: OpenFaaS):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    ingress = system.processes["ingress"]
    ingress.process.terminate()
    ingress.process.wait()
    order = stage.order(guest, stage.body(guest, dish))
    assert system.sql.value(WAITING) >= 1
    ingress.ready = False
    ingress.start()
    system.ready("ingress")
    # The flush leaves young rows to whoever has written them.
    eventually(lambda: by_cron(system, "order-flush").status == 200 and not system.sql.value(WAITING), "a flush")

    assert stage.settled(order) == ["Completed"]


def test_an_order_that_stands_still_is_driven_on_by_cron(stage: Stage, system: OpenFaaS):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish))
    assert stage.settled(order) == ["Completed"]
    due = "UPDATE \"order\".orders SET redrive_at = now() - interval '1 second' WHERE order_id = :id"
    system.sql.rows(due, id=order)

    assert 200 == by_cron(system, "order-redrive").status
    assert ["Заказ успешно создан"] == stage.mails(guest)
