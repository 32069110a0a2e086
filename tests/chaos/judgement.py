"""The verdict from outside, over REST alone: what the guests are shown must fit what they were answered."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from functions.shared import exact_json
from tests.chaos.guests import COURIERS, Account, Guests, Order
from tests.conftest import API
from tests.system import Http

ENDS = {"Completed", "Canceled"}


@dataclass
class Verdict:
    """How the orders ended, and what contradicts what the guests know."""

    ends: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def judge(http: Http, guests: Guests) -> Verdict:
    """Ask for every order, mail, balance, courier and dish."""
    verdict = Verdict()
    completed: list[Order] = []
    with ThreadPoolExecutor(max_workers=8) as threads:
        for found in threads.map(lambda pair: _of_guest(http, *pair), guests.by_guest()):
            verdict.ends.update(found.ends)
            verdict.violations += found.violations
            completed += found.completed
    verdict.violations += [*_couriers(http, guests, completed), *_stock(http, guests, completed)]
    return verdict


@dataclass
class _Found(Verdict):
    completed: list[Order] = field(default_factory=list)


def _of_guest(http: Http, account: Account, orders: list[Order]) -> _Found:
    found, name = _Found(), account.guest.username
    for order in orders:
        body = {"userName": name, "orderId": order.order_id}
        state = _ask(http, account, "/external/order/find", body)["order"]
        if state is None or state["status"] not in ENDS:
            found.violations.append(f"order {order.order_id} has not ended: {state}")
            continue
        found.ends[state["reason"]] += 1
        if state["status"] == "Completed":
            found.completed.append(order)
    balance = _ask(http, account, "/external/user/balance/get", {"username": name})["amount"]
    expected = account.moved - sum((order.amount for order in found.completed), Decimal(0))
    if balance != expected:
        found.violations.append(f"{name} has {balance}, expected {expected}: added - withdrawn - paid")
    mails = _ask(http, account, "/external/user/notification", {"username": name})["emails"]
    if len(mails) != len(orders):
        found.violations.append(f"{name} has {len(mails)} mails about {len(orders)} orders")
    if (texts := Counter(mail["message"] for mail in mails)) != found.ends:
        found.violations.append(f"{name} has mails {dict(texts)}, expected {dict(found.ends)}")
    return found


def _ask(http: Http, account: Account, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(API + path, json=body, token=account.guest.token)
    assert answer.status == 200, f"{path}: {answer.status} {answer.text}"
    return exact_json.loads(answer.text.encode())


def _couriers(http: Http, guests: Guests, completed: list[Order]) -> Iterator[str]:
    """A courier has one order an hour: taken and free together are all that there are."""
    taken = Counter((order.day, order.hour) for order in completed)
    for day in guests.menu.days:
        slots = _ask(http, guests.accounts[0], "/external/delivery/slots", {"date": day})["slots"]
        for slot in slots:
            booked = taken[day, slot["hour"]]
            if booked + slot["free"] != COURIERS:
                yield f"{day} {slot['hour']} h: {booked} completed orders, {slot['free']} of {COURIERS} couriers free"


def _stock(http: Http, guests: Guests, completed: list[Order]) -> Iterator[str]:
    """What is on the menu is what there was, less what completed orders have."""
    eaten: Counter[int] = Counter()
    for order in completed:
        eaten[order.dish] += order.count
    menu = {dish["menuId"]: dish["inStock"] for dish in _ask(http, guests.accounts[0], "/external/menu", {})["dishs"]}
    for dish, stock in (guests.menu.plenty | guests.menu.scarce).items():
        if menu[dish] != stock - eaten[dish]:
            yield f"dish {dish}: {menu[dish]} in stock, expected {stock} - {eaten[dish]}"
