"""Which orders are sent: a mix of the four ways in which an order can end, each from one of many guests."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from tools.bench.client import message

HOURS = 24


class Outcome(Enum):
    """How an order is meant to end, by the text that its guest reads."""

    COMPLETED = "Заказ успешно создан"
    NO_MONEY = "Недостаточно средств на балансе клиента"
    SOLD_OUT = "Выбранное блюдо недоступно"
    BUSY = "Все курьеры заняты. Выберите  другое время доставки."

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


USUAL_MIX = {Outcome.COMPLETED: 85, Outcome.NO_MONEY: 5, Outcome.SOLD_OUT: 5, Outcome.BUSY: 5}


@dataclass
class Guest:
    """Somebody who orders; `head` is the beginning of every request, with the guest's token."""

    name: str
    password: str
    token: str = ""
    head: bytes = b""


@dataclass(frozen=True)
class Slot:
    """A day and an hour of delivery."""

    day: date
    hour: int

    def after(self, hours: int) -> "Slot":
        days, hour = divmod(self.hour + hours, HOURS)
        return Slot(self.day + timedelta(days=days), hour)


@dataclass(frozen=True)
class Order:
    """One order and its intended end."""

    msg_id: str
    outcome: Outcome
    guest: Guest
    body: bytes

    @property
    def request(self) -> bytes:
        """The guest's token is the one of this moment."""
        return message(self.guest.head, self.body)


@dataclass(frozen=True)
class Supplies:
    """What orders are made of: guests with and without money, dishes, a dish that is sold out, a full hour."""

    rich: list[Guest]
    poor: list[Guest]
    dishes: list[int]
    sold_out: int
    busy: Slot
    free: Iterator[Slot]

    @property
    def guests(self) -> list[Guest]:
        return [*self.rich, *self.poor]


class Book:
    """Orders without end. The same mix in the same sequence each time: runs are to be comparable."""

    def __init__(self, supplies: Supplies, mix: dict[Outcome, int], tag: str):
        self.supplies, self.tag = supplies, tag
        self._numbers = itertools.count()
        self._random = random.Random(1)
        self._outcomes, self._weights = list(mix), list(mix.values())

    def next(self) -> Order:
        """An order that nobody has sent before."""
        (outcome,) = self._random.choices(self._outcomes, self._weights)
        return order(self.supplies, outcome, f"{self.tag}-{next(self._numbers)}", self._random)


def order(supplies: Supplies, outcome: Outcome, msg_id: str, by: random.Random, slot: Slot | None = None) -> Order:
    """An order that can end in one way only; without a slot it gets an hour in which all couriers are free."""
    guest = by.choice(supplies.poor if outcome is Outcome.NO_MONEY else supplies.rich)
    dish = supplies.sold_out if outcome is Outcome.SOLD_OUT else by.choice(supplies.dishes)
    slot = slot or (supplies.busy if outcome is Outcome.BUSY else next(supplies.free))
    body = {
        "msgId": msg_id, "userName": guest.name, "amount": 1, "discount": 0, "quantity": 1,
        "dishs": [{"menuId": dish, "count": 1}],
        "deliveryDate": f"{slot.day:%d.%m.%Y}", "deliveryHour": slot.hour,
    }  # fmt: skip
    return Order(msg_id, outcome, guest, json.dumps(body).encode())


def slots(first: Slot) -> Iterator[Slot]:
    """Every hour from `first` on, each once."""
    return map(first.after, itertools.count())


def parsed_mix(text: str) -> dict[Outcome, int]:
    """A mix as it is typed: completed=85,no-money=5. Raises ValueError."""
    known = {outcome.label: outcome for outcome in Outcome}
    parts = dict(part.split("=", 1) for part in text.split(","))
    if unknown := parts.keys() - known.keys():
        raise ValueError(f"expected some of {', '.join(known)}; got {', '.join(sorted(unknown))}")
    mix = {known[name]: int(share) for name, share in parts.items()}
    if min(mix.values()) < 0 or not any(mix.values()):
        raise ValueError(f"expected shares of which one is above 0; got {text}")
    return mix
