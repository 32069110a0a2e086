"""Each event thrice, in any order, alone or in batches, or a month late: the tables are as after a plain run."""

import json
import random
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.shared import exact_json
from functions.shared.events import BATCH, STRUCTURED
from tests.conftest import User
from tests.kit import timeless
from tests.stories.conftest import Stage
from tests.system import Answer
from tools.inject import snapshot

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
STORIES = ("completed", "no money", "sold out", "couriers busy")
# Each story's own tables, with what differs from run to run left out.
TABLES = """
    SELECT 'order' AS what, status || pay_status || store_status || delivery_status || reason AS facts
      FROM "order".orders WHERE order_id = :id
    UNION ALL SELECT 'payment', type || amount || currency || username FROM pay.payments WHERE order_id = :id
    UNION ALL SELECT 'charge', status || amount || (refunded_at IS NULL) FROM billing.charges WHERE order_id = :id
    UNION ALL SELECT 'movement', kind || amount || username FROM billing.movements WHERE order_id = :id
    UNION ALL SELECT 'reserved', status || (canceled_at IS NULL) FROM store.reservations WHERE order_id = :id
    UNION ALL SELECT 'booked', count || 'x' || price FROM store.bookings WHERE order_id = :id
    UNION ALL SELECT 'courier', status || (courier_id IS NULL) FROM delivery.bookings WHERE order_id = :id
    UNION ALL SELECT 'mail', message || email || username FROM notification.emails WHERE order_id = :id
     ORDER BY what, facts
"""


class Scene:
    """A guest, a dish and a day that lead to one of the stories, and the order that tells it."""

    def __init__(self, stage: Stage, story: str):
        self.stage, self.story = stage, story
        self.guest: User = stage.new_user(1 if story == "no money" else 100)
        self.dish = stage.dish(stock=1 if story == "sold out" else 10)
        self.day = stage.busy_day() if story == "couriers busy" else stage.day()

    def played(self) -> tuple[str, list[str]]:
        """Play the story through the whole system; gives the order's id and all its events."""
        body = self.stage.body(self.guest, self.dish, deliveryDate=self.day)
        order = self.stage.order(self.guest, body)
        self.stage.settled(order)
        return order, self.stage.events(order)

    def tables(self, order: str) -> list[tuple[str, str]]:
        """What the order has left, and what the guest and the kitchen have now."""
        rows = [tuple(row) for row in self.stage.system.sql.rows(TABLES, id=order)]
        mine = [(table, text.replace(self.guest.username, "guest")) for table, text in rows]
        return [*mine, ("balance", self.stage.balance(self.guest)), ("stock", str(self.stage.stock(self.dish)))]


def retold(events: Iterable[str], was: Scene, now: Scene, salt: str) -> list[str]:
    """The same events about another guest, dish and day, under other ids."""
    texts = []
    for text in events:
        text = UUID.sub(lambda found: str(uuid.uuid5(uuid.NAMESPACE_OID, salt + found[0])), text)
        text = text.replace(was.guest.username, now.guest.username).replace(was.day, now.day)
        texts.append(text.replace(f'"menuId":{was.dish},', f'"menuId":{now.dish},'))
    return texts


def send(stage: Stage, events: list[str]) -> Answer:
    """To the function of their type: one as it is, several as a batch."""
    step = stage.system.step(json.loads(events[0])["type"].removeprefix("homework.arch."))
    if len(events) == 1:
        return step.post(data=events[0], headers={"Content-Type": STRUCTURED})
    return step.post(data=f"[{','.join(events)}]", headers={"Content-Type": BATCH})


def answers(answer: Answer) -> list[dict[str, Any]]:
    """The events of an answer, without their times."""
    if answer.status == 204:
        return []
    if answer.headers["Content-Type"] == BATCH:
        return [timeless(one) for one in exact_json.loads(answer.text)]
    attributes = {name.lower()[3:]: value for name, value in answer.headers.items() if name.lower().startswith("ce-")}
    return [timeless({"datacontenttype": "application/json", **attributes, "data": exact_json.loads(answer.text)})]


def deliver(stage: Stage, events: list[str], dice: random.Random, batches: bool) -> list[dict[str, Any]]:
    """Send all; what cannot be handled yet comes back to the end of the line, as a broker would do it.

    Gives the events that were answered.
    """
    waiting, answered = list(events), []
    for _ in range(30):
        groups = grouped(waiting, dice) if batches else [[event] for event in waiting]
        waiting = []
        for group in groups:
            answer = send(stage, group)
            if answer.status in (200, 204):
                answered += answers(answer)
                continue
            assert answer.status == 503, answer.text
            # What failed as a batch is tried one by one.
            for one in group:
                answer = answer if len(group) == 1 else send(stage, [one])
                if answer.status == 503:
                    waiting.append(one)
                else:
                    answered += answers(answer)
        if not waiting:
            return answered
    raise AssertionError(f"never handled: {waiting}")


def grouped(events: list[str], dice: random.Random) -> list[list[str]]:
    """Events of one type side by side, in batches of any size."""
    by_type = defaultdict(list)
    for event in events:
        by_type[json.loads(event)["type"]].append(event)
    groups = []
    for same in by_type.values():
        while same:
            size = dice.randint(1, 8)
            groups.append(same[:size])
            del same[:size]
    dice.shuffle(groups)
    return groups


def assert_answered_alike(answered: list[dict[str, Any]]) -> None:
    """Each event was answered thrice with the same event."""
    by_id = defaultdict(list)
    for event in answered:
        by_id[event["id"]].append(event)
    assert {len(same) for same in by_id.values()} == {3}
    assert all(same == [same[0]] * 3 for same in by_id.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("batches", [False, True], ids=["alone", "in batches"])
def test_three_of_each_event_in_any_order_leave_the_same_tables(stage: Stage, batches: bool, seed: int):
    dice, salt = random.Random(seed), uuid.uuid4().hex
    plain = {story: Scene(stage, story) for story in STORIES}
    mixed = {story: Scene(stage, story) for story in STORIES}
    orders, line = {}, []
    for story, scene in plain.items():
        order, events = scene.played()
        orders[story] = order, str(uuid.uuid5(uuid.NAMESPACE_OID, salt + order))
        line += retold(events, scene, mixed[story], salt) * 3
    dice.shuffle(line)
    answered = deliver(stage, line, dice, batches)
    assert_answered_alike(answered)
    stage.settled(*(order for _, order in orders.values()))

    for story, (played, shuffled) in orders.items():
        assert plain[story].tables(played) == mixed[story].tables(shuffled), story


@pytest.mark.parametrize("batches", [False, True], ids=["alone", "in batches"])
def test_events_of_a_month_ago_in_any_order_move_nothing_and_are_answered_as_then(stage: Stage, batches: bool):
    dice = random.Random(4)
    scenes = {story: Scene(stage, story) for story in STORIES}
    orders, line, then = {}, [], {}
    for story, scene in scenes.items():
        orders[story], events = scene.played()
        then |= {event["id"]: timeless(event) for event in map(exact_json.loads, events)}
        line += [a_month_ago(event) for event in events]
    age(stage, [*orders.values()])
    before = everything(stage)
    dice.shuffle(line)
    answered = deliver(stage, line, dice, batches)

    assert everything(stage) == before
    assert len(answered) == len(line) - 2 * len(STORIES)
    assert [event for event in answered if event != then[event["id"]]] == []


# Every time that an order has left in a table, but for that at which it would be driven on.
TIMES = """
    SELECT table_schema AS owner, table_name AS name, array_agg(CAST(column_name AS text)) AS columns
      FROM information_schema.columns c JOIN information_schema.tables USING (table_schema, table_name)
     WHERE data_type = 'timestamp with time zone' AND column_name <> 'redrive_at' AND table_type = 'BASE TABLE'
       AND EXISTS (SELECT FROM information_schema.columns o
                    WHERE (o.table_schema, o.table_name, o.column_name) = (c.table_schema, c.table_name, 'order_id'))
     GROUP BY 1, 2
"""


def age(stage: Stage, orders: list[str]) -> None:
    """Let what was decided about these orders have been decided a month ago."""
    for table in stage.system.sql.rows(TIMES):
        older = ", ".join(f"{column} = {column} - interval '30 days'" for column in table.columns)
        update = f'UPDATE "{table.owner}".{table.name} SET {older} WHERE order_id = ANY(CAST(:ids AS text[]))'
        stage.system.sql.rows(update, ids=orders)


def a_month_ago(event: str) -> str:
    """The event as a queue would give it out that has kept it for so long."""
    return exact_json.dumps({**exact_json.loads(event), "time": (datetime.now(UTC) - timedelta(days=30)).isoformat()})


def everything(stage: Stage) -> dict[str, Any]:
    """Every row of every owner of the chain."""
    owners = ("order", "pay", "billing", "store", "delivery", "notification")
    return {owner: snapshot(stage.system.database_url, owner) for owner in owners}


def test_the_events_of_a_story_are_all_known(stage: Stage):
    """Otherwise the test above could shuffle nothing and be content."""
    _, events = Scene(stage, "couriers busy").played()
    types = [json.loads(event)["type"].removeprefix("homework.arch.") for event in events]
    assert sorted(types) == sorted(
        [
            "order.newOrder", "pay.sale", "billing.withdraw", "pay.confirmSale", "store.bookingFood",
            "delivery.bookingCourier", "store.cancelBookingFood", "pay.refund", "billing.refund", "order.result",
            "notification.email",
        ]
    )  # fmt: skip
