"""Guests who order and move money, patiently: what got no answer is sent again, the same, until it has one."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import urllib3

from tests.conftest import API, User, registered
from tests.system import Answer, Http, Rows, eventually

AT_ONCE = 24
# So many orders of one guest: a mail and an order of each are asked for at the end.
ORDERS_OF_ONE = 20
FIRST_DAY = date(2200, 1, 1)
SLOTS_OF_A_DAY = 72
COURIERS = 3
MONEY_CALLS = 0.25
PRICE = Decimal("12.50")
DISH = """
    INSERT INTO store.dishes (id, name, weight_grams, price, opening_stock, in_stock)
    VALUES (:id, :name, 100, 12.50, :stock, :stock)
"""


@dataclass(frozen=True)
class Order:
    """An accepted order, as its guest knows it."""

    guest: User
    order_id: str
    amount: Decimal
    dish: int
    count: int
    day: str
    hour: int


@dataclass
class Account:
    """What a guest has put on the balance, less what was taken off, by the answers that came."""

    guest: User
    moved: Decimal
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Menu:
    """Dishes of which there is enough, dishes that will be sold out, and the days on which couriers will be busy."""

    plenty: dict[int, int]
    scarce: dict[int, int]
    days: list[str]


class Guests:
    """All guests of a run. What each of them does, and in which order, is decided by the seed."""

    def __init__(self, http: Http, sql: Rows, seed: int, orders: int):
        self.http, self.seed, self.wanted = http, seed, orders
        self.accepted: list[Order] = []
        self.answers: Counter[str] = Counter()
        self.problems: list[str] = []
        self.accounts = self._register(max(4, orders // ORDERS_OF_ONE))
        self.menu = self._cook(sql, orders)

    def _register(self, count: int) -> list[Account]:
        # Every fourth has little money.
        balances = [Decimal(30 if number % 4 == 3 else 2000) for number in range(count)]
        with ThreadPoolExecutor(max_workers=4) as threads:
            guests = threads.map(lambda balance: registered(self.http, balance), balances)
            return [Account(guest, balance) for guest, balance in zip(guests, balances, strict=True)]

    def _cook(self, sql: Rows, orders: int) -> Menu:
        plenty = {9_000_000 + number: orders * 3 for number in range(20)}
        scarce = {9_100_000 + number: max(1, orders // 100) for number in range(5)}
        for number, stock in (plenty | scarce).items():
            sql.rows(DISH, id=number, name=f"dish {number}", stock=stock)
        # So few that about every tenth order finds all couriers busy.
        days = max(1, round(orders * 0.75 / SLOTS_OF_A_DAY))
        return Menu(plenty, scarce, [(FIRST_DAY + timedelta(days=n)).strftime("%d.%m.%Y") for n in range(days)])

    @property
    def progress(self) -> float:
        """The accepted share of all orders."""
        return len(self.accepted) / self.wanted

    def work(self, next_fault: Callable[[], float]) -> None:
        """Until every order is accepted; none is sent before the faults that are to happen before it have begun."""
        self._next_fault = next_fault
        with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
            for done in [threads.submit(self._act, number) for number in range(self.wanted)]:
                done.result()

    def _act(self, number: int) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        account = self.accounts[number % len(self.accounts)]
        while number / self.wanted > self._next_fault():
            time.sleep(0.02)
        try:
            if chance.random() < MONEY_CALLS:
                self._move_money(account, chance)
            self._order(account.guest, chance)
        except Exception as problem:
            self.problems.append(f"{number}: {type(problem).__name__}: {problem}")

    def _order(self, guest: User, chance: random.Random) -> None:
        dishes = self.menu.scarce if chance.random() < 0.1 else self.menu.plenty
        dish, count = chance.choice(list(dishes)), chance.randint(1, 2)
        day, hour = chance.choice(self.menu.days), chance.randrange(24)
        body = {
            "msgId": uuid.UUID(int=chance.getrandbits(128)).hex, "amount": float(PRICE * count), "discount": 0,
            "quantity": count, "userName": guest.username, "dishs": [{"menuId": dish, "count": count}],
            "deliveryDate": day, "deliveryHour": hour,
        }  # fmt: skip
        answer = self._insist(guest, "/external/order", body, {})
        if answer["status"] == "OK":
            self.accepted.append(Order(guest, answer["orderId"], PRICE * count, dish, count, day, hour))
        else:
            self.problems.append(f"an order was refused: {answer}")

    def _move_money(self, account: Account, chance: random.Random) -> None:
        action, sign = chance.choice([("add", 1), ("add", 1), ("withdraw", -1)])
        amount = Decimal(chance.randint(100, 5000)) / 100
        # The key makes the repeated call the same one: the money moves once.
        key = {"Idempotency-Key": f'"{uuid.UUID(int=chance.getrandbits(128))}"'}
        body = {"username": account.guest.username, "amount": float(amount)}
        answer = self._insist(account.guest, f"/external/user/balance/{action}", body, key)
        self.answers[f"{action}: {answer['status']} {answer['error']}".strip()] += 1
        if answer["status"] == "OK":
            with account.lock:
                account.moved += sign * amount

    def _insist(self, guest: User, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        def answered() -> dict[str, Any] | None:
            try:
                answer = self.http.post(API + path, json=body, token=guest.token, headers=headers)
            except urllib3.exceptions.HTTPError as problem:
                self.answers[type(problem).__name__] += 1
                return None
            return self._final(answer)

        return eventually(answered, f"an answer from {path}", 600, every=0.2)

    def _final(self, answer: Answer) -> dict[str, Any] | None:
        self.answers[str(answer.status)] += 1
        if answer.status >= 500 or answer.status == 409:
            return None
        with suppress(ValueError):
            return answer.json
        raise ValueError(f"{answer.status} {answer.text[:200]}")

    def by_guest(self) -> Iterator[tuple[Account, list[Order]]]:
        """Every guest with the orders that were accepted."""
        orders: dict[str, list[Order]] = {}
        for order in self.accepted:
            orders.setdefault(order.guest.username, []).append(order)
        for account in self.accounts:
            yield account, orders.get(account.guest.username, [])
