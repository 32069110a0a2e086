"""A database beside the system's own, on the same server and with the same tables, to measure in something else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pg8000.native import identifier

from tools.bench.orders import Guest, Supplies
from tools.bench.preparation import MONEY, supplies
from tools.local.installation import Installation
from tools.migrate import connected, create_database, migrate

GUESTS, DISHES = 50, 50
PREFIX = "food_beside_"

CLIENTS = """
    INSERT INTO billing.clients (username, opening, balance)
    SELECT name, :money, :money FROM unnest(CAST(:names AS text[])) AS name
"""


class Known:
    """Guests that need not register: nobody asks who they are."""

    def __init__(self, count: int):
        self.rich = [Guest(f"bench-{number}", "", "nobody-asks") for number in range(count)]
        self.poor: list[Guest] = []


@contextmanager
def database(installation: Installation, server: str, purpose: str) -> Iterator[tuple[str, Supplies]]:
    """A new one at the server of `server`, dropped in the end: its address, and what orders are made of there."""
    name = PREFIX + purpose.replace("-", "_")
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    _drop(server, name)
    create_database(url)
    try:
        migrate(url, json.loads((installation.secrets / "roles.json").read_text()))
        yield url, filled(url)
    finally:
        _drop(server, name)


def _drop(server: str, name: str) -> None:
    with connected(urlsplit(server)._replace(path="/postgres").geturl()) as admin:
        admin.run(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def filled(url: str) -> Supplies:
    """Put guests with money, and dishes, into a migrated database."""
    guests = Known(GUESTS)
    with connected(url) as connection:
        connection.run(CLIENTS, money=MONEY, names=[guest.name for guest in guests.rich])
        return supplies(connection, guests, DISHES)
