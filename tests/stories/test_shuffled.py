"""Each event comes thrice, in any order, alone or in batches: the tables are the same as after a plain run."""

import json
import random
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable

import pytest

from functions.shared.events import BATCH, STRUCTURED
from tests.conftest import User
from tests.stories.conftest import Stage
from tests.system import Answer

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
    told = []
    for text in events:
        text = UUID.sub(lambda found: str(uuid.uuid5(uuid.NAMESPACE_OID, salt + found[0])), text)
        text = text.replace(was.guest.username, now.guest.username).replace(was.day, now.day)
        told.append(text.replace(f'"menuId":{was.dish},', f'"menuId":{now.dish},'))
    return told


def send(stage: Stage, events: list[str]) -> Answer:
    """To the function of their type: one as it is, several as a batch."""
    step = stage.system.step(json.loads(events[0])["type"].removeprefix("homework.arch."))
    if len(events) == 1:
        return step.post(data=events[0], headers={"Content-Type": STRUCTURED})
    return step.post(data=f"[{','.join(events)}]", headers={"Content-Type": BATCH})


def deliver(stage: Stage, events: list[str], dice: random.Random, batches: bool) -> None:
    """Send all; what cannot be handled yet comes back to the end of the line, as a broker would do it."""
    waiting = list(events)
    for _ in range(30):
        groups = grouped(waiting, dice) if batches else [[event] for event in waiting]
        waiting = []
        for group in groups:
            answer = send(stage, group)
            if answer.status in (200, 204):
                continue
            assert answer.status == 503, answer.text
            # What failed as a batch is tried one by one.
            waiting += [one for one in group if len(group) == 1 or send(stage, [one]).status == 503]
        if not waiting:
            return
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
    deliver(stage, line, dice, batches)
    stage.settled(*(order for _, order in orders.values()))

    for story, (played, shuffled) in orders.items():
        assert plain[story].tables(played) == mixed[story].tables(shuffled), story


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

