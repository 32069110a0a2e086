"""What has to be there before orders can be sent: guests, money, dishes, and an hour without free couriers."""

import json
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import urllib3
from pg8000.native import Connection

from tools.bench.client import head
from tools.bench.orders import Guest, Outcome, Slot, Supplies, order, slots
from tools.local.processes import StartFailed, wait_until

API = "/ui-api-service/api/v1"
MONEY = 1_000_000
STOCK = 1_000_000
FIRST_DISH = 1_000_000
AT_ONCE = 4  # a password takes a processor for a while
FRESH = 300  # seconds; a token is good for 900

# No constraint is in the way of dishes that are only measured; the audit goes by opening and what is in stock.
DISHES = """
    INSERT INTO store.dishes (id, name, weight_grams, price, opening_stock, in_stock)
    SELECT id, 'measured dish ' || id, 100, 1.00, :stock, :stock
      FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS id
    ON CONFLICT (id) DO UPDATE
       SET opening_stock = dishes.opening_stock + :stock, in_stock = dishes.in_stock + :stock
     WHERE dishes.in_stock < :stock / 2
"""

SOLD_OUT = """
    INSERT INTO store.dishes (id, name, weight_grams, price, opening_stock, in_stock)
    VALUES (:id, 'measured dish, sold out', 100, 1.00, 0, 0) ON CONFLICT (id) DO NOTHING
"""

# Days that no person orders for, after those of earlier measurements.
FIRST_FREE_DAY = """
    SELECT coalesce(max(delivery_date) + 1, DATE '3000-01-01') FROM delivery.bookings
     WHERE delivery_date >= '3000-01-01'
"""

COURIERS = "SELECT count(*) FROM delivery.couriers"

BOOKED = """
    SELECT count(*) FROM delivery.bookings
     WHERE delivery_date = :day AND delivery_hour = :hour AND canceled_at IS NULL
"""


@dataclass
class Host:
    """The public API, for the few calls before the load."""

    gateway: str
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=AT_ONCE, timeout=30))

    def post(self, path: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        """Raises StartFailed for everything that is not OK."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        answer = self._pool.request("POST", f"{self.gateway}{API}/{path}", body=json.dumps(body), headers=headers)
        answered = json.loads(answer.data) if answer.status == 200 else {"status": answer.status}
        if answered.get("status", "OK") != "OK":
            raise StartFailed(f"{path}: expected 200 and OK, got {answer.status} {answer.data[:200]!r}")
        return answered

    def log_in(self, guest: Guest) -> None:
        """Give the guest a new token."""
        answered = self.post("auth/token", {"username": guest.name, "password": guest.password})
        guest.token = answered["access_token"]
        guest.head = head(self.gateway.partition("//")[2], f"{API}/external/order", guest.token)

    def register(self, name: str, money: int) -> Guest:
        """A guest who is logged in."""
        guest = Guest(name, uuid.uuid4().hex)
        facts = {"firstName": "B", "lastName": "B", "email": "bench@example.org", "password": guest.password}
        phone = "+" + str(uuid.uuid4().int)[:20]
        self.post("auth/registration", {**facts, "username": name, "mobilePhone": phone})
        self.log_in(guest)
        if money:
            self.post("external/user/balance/add", {"username": name, "amount": money}, guest.token)
        return guest


class Guests:
    """Those who order, kept logged in."""

    def __init__(self, host: Host, count: int):
        self.host = host
        batch = uuid.uuid4().hex[:12]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            make = [threads.submit(host.register, f"bench-{batch}-{n}", MONEY) for n in range(count)]
            make += [threads.submit(host.register, f"poor-{batch}-{n}", 0) for n in range(max(1, count // 10))]
            made = [future.result() for future in make]
        self.rich, self.poor = made[:count], made[count:]
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Log all in again, unless that was lately."""
        if time.monotonic() - self._renewed > FRESH:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(self.host.log_in, [*self.rich, *self.poor]))
            self._renewed = time.monotonic()


def supplies(connection: Connection, guests: Guests, dishes: int) -> Supplies:
    """Stock the store, and look up which days are free."""
    connection.run(DISHES, first=FIRST_DISH + 1, last=FIRST_DISH + dishes, stock=STOCK)
    connection.run(SOLD_OUT, id=FIRST_DISH)
    free = slots(Slot(first_free_day(connection), 0))
    return Supplies(
        guests.rich, guests.poor, [FIRST_DISH + 1 + n for n in range(dishes)], FIRST_DISH, next(free), free
    )


def first_free_day(connection: Connection) -> date:
    """A day after all that were measured with; the calendar holds some sixty million orders."""
    return connection.run(FIRST_FREE_DAY)[0][0]


def fill_busy_hour(connection: Connection, host: Host, supplies: Supplies) -> None:
    """Order until no courier is left for the busy hour. Raises StartFailed."""
    couriers = connection.run(COURIERS)[0][0]
    for number in range(couriers):
        filling = order(supplies, Outcome.COMPLETED, f"fills-the-hour-{number}", random.Random(), supplies.busy)
        host.post("external/order", json.loads(filling.body), filling.guest.token)
    if not wait_until(lambda: _booked(connection, supplies.busy) == couriers, 60, every=0.1):
        raise StartFailed(f"expected {couriers} orders to book all couriers within 60 s, not all did")


def _booked(connection: Connection, slot: Slot) -> int:
    return connection.run(BOOKED, day=slot.day, hour=slot.hour)[0][0]
