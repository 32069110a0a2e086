"""A database for each engine on the same server, with our tables, and the same guests and dishes in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pg8000.native import identifier

from tools.bench.orders import Guest, Supplies
from tools.bench.preparation import MONEY, Guests, Host, supplies
from tools.local.place import Place
from tools.migrate import connected, create_database, migrate

GUESTS, DISH_COUNT = 50, 50
PREFIX = "food_beside_"

CLIENTS = """
    INSERT INTO billing.clients (username, opening, balance)
    SELECT name, :money, :money FROM unnest(CAST(:names AS text[])) AS name
"""


@dataclass
class Storehouse:
    """Where the databases are, and what was put into ours."""

    place: Place
    server: str
    _ours: Supplies | None = field(default=None, init=False)
    _guests: Guests | None = field(default=None, init=False)

    def through(self, gateway: str) -> Supplies:
        """Our own system's: its guests register and log in like any others."""
        if self._guests is None:
            self._guests = Guests(Host(gateway), GUESTS)
            with connected(self.server) as connection:
                self._ours = supplies(connection, self._guests, DISH_COUNT)
        self._guests.renew()
        return self._ours

    @contextmanager
    def database(self, engine: str) -> Iterator[tuple[str, Supplies]]:
        """A new database for a peer, dropped in the end: its address, and what orders are made of there."""
        name = PREFIX + engine.replace("-", "_")
        url = urlsplit(self.server)._replace(path=f"/{name}").geturl()
        self._drop(name)
        create_database(url)
        migrate(url, json.loads((self.place.secrets / "roles.json").read_text()))
        try:
            yield url, _filled(url)
        finally:
            self._drop(name)

    def _drop(self, name: str) -> None:
        with connected(urlsplit(self.server)._replace(path="/postgres").geturl()) as admin:
            admin.run(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


class _Known:
    """Guests that need not register: nobody asks who they are."""

    def __init__(self, count: int):
        self.rich = [Guest(f"bench-{number}", "", "nobody-asks") for number in range(count)]
        self.poor: list[Guest] = []


def _filled(url: str) -> Supplies:
    guests = _Known(GUESTS)
    with connected(url) as connection:
        connection.run(CLIENTS, money=MONEY, names=[guest.name for guest in guests.rich])
        return supplies(connection, guests, DISH_COUNT)
