"""Where each engine's orders are put: ours into the running system's database, a peer's into one beside it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tools import bench_beside
from tools.bench.orders import Supplies
from tools.bench.preparation import Guests, Host, supplies
from tools.local.installation import Installation
from tools.migrate import connected


@dataclass
class Storehouse:
    """The databases of one measurement; `server` is the address of ours."""

    installation: Installation
    server: str
    _ours: Supplies | None = field(default=None, init=False)
    _guests: Guests | None = field(default=None, init=False)

    def through(self, gateway: str) -> Supplies:
        """Our own system's: its guests register and log in like any others."""
        if self._guests is None:
            self._guests = Guests(Host(gateway), bench_beside.GUESTS)
            with connected(self.server) as connection:
                self._ours = supplies(connection, self._guests, bench_beside.DISHES)
        self._guests.renew()
        return self._ours

    def database(self, engine: str) -> AbstractContextManager[tuple[str, Supplies]]:
        """A new database for a peer, dropped in the end: its address, and what orders are made of there."""
        return bench_beside.database(self.installation, self.server, engine)
