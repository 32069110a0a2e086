"""What a story is told with: guests who order, the kitchen's dishes, and a look at everything an order has left."""

import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from functions.shared import exact_json
from tests.conftest import API, User
from tests.system import System, eventually
from triggers.wire import WireEvent, from_amqp

# Far from today and from each other: a story's day is its own.
FIRST_DAY = date(2100, 1, 1)

# A binding that asks for no attribute: the queue gets a copy of every event that there is.
EVERYTHING = {"x-match": "all"}
TAP = "tests.every-event"
LAST = "homework.arch.order.result"

FORWARD = [
    "order.new_order",
    "pay.sale",
    "billing.withdraw",
    "pay.confirm_sale",
    "store.booking_food",
    "delivery.booking_courier",
]
BACK = ["store.cancel_booking_food", "pay.refund"]
END = ["order.result", "notification.send_email"]


class Tap:
    """Every event that the broker has taken since the file's tests began, in the order of their making.

    The dispatcher has some time for publishing that of which it has begun the step; the ingress may be faster.
    """

    def __init__(self, system: System, exchange: str = "food.events"):
        self.system = system
        self._taken: dict[tuple[str, str], WireEvent] = {}
        channel = system.channel()
        channel.queue_declare(TAP, durable=True, arguments={"x-queue-type": "classic"})
        channel.queue_bind(TAP, exchange, "", EVERYTHING)
        channel.connection.close()

    def close(self) -> None:
        channel = self.system.channel()
        channel.queue_delete(TAP)
        channel.connection.close()

    def of(self, order_id: str) -> list[WireEvent]:
        """The order's events; what was sent more than once is told once, as it came first."""
        self._look()
        events = [event for event in self._taken.values() if event["subject"] == order_id]
        return sorted(events, key=lambda event: event["time"])

    def ended(self) -> set[str]:
        """The orders of which the broker has the last event that a step has answered."""
        self._look()
        return {event["subject"] for event in self._taken.values() if event["type"] == LAST}

    def _look(self) -> None:
        channel = self.system.channel()
        try:
            while (found := channel.basic_get(TAP, auto_ack=True))[0]:
                _, properties, body = found
                event = from_amqp(properties.headers, properties.content_type, body)
                self._taken.setdefault((event["source"], event["id"]), event)
        finally:
            channel.connection.close()


@dataclass
class Stage:
    """Where the stories are played."""

    system: System
    new_user: Callable[..., User]
    tap: Tap
    _days: Iterator[int] = field(default_factory=lambda: itertools.count(random.randrange(2_000_000)))
    _dishes: Iterator[int] = field(default_factory=lambda: itertools.count(random.randrange(1000, 2_000_000_000)))
    _messages: Iterator[int] = field(default_factory=itertools.count)

    def day(self) -> str:
        """A day on which nobody else delivers."""
        return (FIRST_DAY + timedelta(days=next(self._days) % 2_000_000)).strftime("%d.%m.%Y")

    def dish(self, stock: int = 10, price: str = "10.00") -> int:
        """A new dish on the menu; gives its id."""
        number = next(self._dishes)
        self.system.sql.rows(
            "INSERT INTO store.dishes (id, name, weight_grams, price, opening_stock, in_stock)"
            " VALUES (:id, 'dish of a story', 100, :price, :stock, :stock)",
            id=number, price=price, stock=stock,
        )  # fmt: skip
        return number

    def body(self, user: User, dish: int, **changes: Any) -> dict[str, Any]:
        """An order as a client sends it: two portions for 25.50, on a day of its own."""
        return {
            "msgId": f"message-{next(self._messages)}",
            "amount": 25.5,
            "discount": 0,
            "quantity": 2,
            "userName": user.username,
            "dishs": [{"menuId": dish, "count": 2}],
            "deliveryDate": self.day(),
            "deliveryHour": 12,
        } | changes

    def order(self, user: User, body: dict[str, Any]) -> str:
        """Send an order; gives its id."""
        answer = self.system.gateway.post(f"{API}/external/order", json=body, token=user.token)
        assert (answer.status, answer.json["status"]) == (200, "OK"), answer.text
        return answer.json["orderId"]

    def orders_at_once(self, user: User, bodies: list[dict[str, Any]]) -> list[str]:
        """Send all of them at the same time."""
        with ThreadPoolExecutor(max_workers=25) as threads:
            return list(threads.map(lambda body: self.order(user, body), bodies))

    def settled(self, *order_ids: str, seconds: float = 60) -> list[str]:
        """Wait until each of the orders has ended and its mail is there; gives their statuses."""
        self._wait(order_ids, seconds)
        return [self.status(order_id) for order_id in order_ids]

    def _wait(self, order_ids: tuple[str, ...], seconds: float) -> None:
        count = (
            'SELECT count(*) FROM "order".orders o JOIN notification.emails USING (order_id)'
            " WHERE ended_at IS NOT NULL AND order_id = ANY(CAST(:ids AS text[]))"
        )
        wanted = len(set(order_ids))
        eventually(lambda: self.system.sql.value(count, ids=list(order_ids)) == wanted, f"{wanted} ended", seconds)

    def status(self, order_id: str) -> str:
        return self.system.sql.value('SELECT status FROM "order".orders WHERE order_id = :id', id=order_id)

    def found(self, user: User, order_id: str) -> dict[str, Any]:
        """The order as its owner is shown it."""
        body = {"userName": user.username, "orderId": order_id}
        return self.system.gateway.post(f"{API}/external/order/find", json=body, token=user.token).json["order"]

    def statuses(self, user: User, order_id: str) -> tuple[str, str, str, str]:
        """The order's status and those of its three steps."""
        found = self.found(user, order_id)
        return found["status"], found["payStatus"], found["storeStatus"], found["deliveryStatus"]

    def trace(self, order_id: str) -> list[str]:
        """Every step that has handled this order, in the order of time, as the events say that they have sent.

        The last step sends none: that it has worked is seen by the mail.
        """
        senders = [event["source"].strip("/").replace("/", ".") for event in self._events(order_id)]
        steps = [sender for sender in senders if sender != "order.submit"]
        return [*steps, *["notification.send_email"] * self._mails_of(order_id)]

    def _mails_of(self, order_id: str) -> int:
        count = "SELECT count(*) FROM notification.emails WHERE order_id = :id"
        return self.system.sql.value(count, id=order_id)

    def events(self, order_id: str) -> list[str]:
        """Every event of an ended order, in structured form."""
        return [_structured(event) for event in self._events(order_id)]

    def _events(self, order_id: str) -> list[WireEvent]:
        if self._mails_of(order_id):
            eventually(lambda: order_id in self.tap.ended(), "the broker to have all events of the order")
        return self.tap.of(order_id)

    def payments(self, order_id: str) -> list[tuple[str, str, str]]:
        rows = self.system.sql.rows(
            "SELECT type, amount, currency FROM pay.payments WHERE order_id = :id ORDER BY created_at", id=order_id
        )
        return [(row.type, str(row.amount), row.currency) for row in rows]

    def balance(self, user: User) -> str:
        body = {"username": user.username}
        answer = self.system.gateway.post(f"{API}/external/user/balance/get", json=body, token=user.token)
        return answer.text.partition('"amount":')[2].rstrip("}")

    def stock(self, dish: int) -> int:
        return self.system.sql.value("SELECT in_stock FROM store.dishes WHERE id = :id", id=dish)

    def couriers(self, order_id: str) -> int:
        return self.system.sql.value(
            "SELECT count(*) FROM delivery.bookings"
            " WHERE order_id = :id AND courier_id IS NOT NULL AND canceled_at IS NULL",
            id=order_id,
        )

    def mails(self, user: User) -> list[str]:
        """The texts that the user has got, oldest first."""
        body = {"username": user.username}
        answer = self.system.gateway.post(f"{API}/external/user/notification", json=body, token=user.token)
        return [mail["message"] for mail in answer.json["emails"]]

    def busy_day(self, couriers: int = 3) -> str:
        """A day at whose hour 12 so many couriers are taken, by orders of somebody else."""
        guest, dish, day = self.new_user(1000), self.dish(), self.day()
        taken = [self.order(guest, self.body(guest, dish, deliveryDate=day)) for _ in range(couriers)]
        assert self.settled(*taken) == ["Completed"] * couriers
        return day

    def redrive(self, *order_ids: str) -> dict[str, int]:
        """Let the deadline of these orders be over, and the re-drive look at them."""
        due = "UPDATE \"order\".orders SET redrive_at = now() - interval '1 second' WHERE order_id = ANY(:ids)"
        self.system.sql.rows(due, ids=list(order_ids))
        answer = self.system.function("order-redrive").post()
        assert answer.status == 200, answer.text
        return answer.json


def _structured(event: WireEvent) -> str:
    return exact_json.dumps({**event.attributes, "data": exact_json.loads(event.data)})


@pytest.fixture(scope="module")
def tap(system: System) -> Iterator[Tap]:
    """What a story's trace is read from."""
    made = Tap(system)
    yield made
    made.close()


@pytest.fixture
def stage(system: System, new_user: Callable[..., User], tap: Tap, audited: None) -> Stage:  # noqa: ARG001 - asked for what it does afterwards
    """The stage; after each story nothing may contradict what must always hold."""
    return Stage(system, new_user, tap)
