"""The measuring side at work: how it measures, and what it has ready before the first order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pg8000.native import Connection

from tools.bench import statements
from tools.bench.orders import USUAL_MIX, Outcome, Supplies
from tools.bench.preparation import Guests, Host, fill_busy_hour, supplies
from tools.bench.scenarios import SELDOM
from tools.bench.target import CLIENT, Target
from tools.bench.watch import Watch
from tools.migrate import connected

OWN_SQL = "client's SQL"
NOT_OURS = (CLIENT, OWN_SQL)  # beside the system, and not in its sums
BACKEND = "SELECT pg_backend_pid()"
PORT = "SELECT inet_client_port()"


@dataclass(frozen=True)
class Options:
    """How to measure; what is measured is another matter."""

    guests: int = 50
    dishes: int = 50
    mix: dict[Outcome, int] = field(default_factory=USUAL_MIX.copy)
    connections: int = 64
    patience: float = 600


@dataclass(frozen=True)
class Bench:
    """Two connections to the database, one of them for the watch alone; `processes` has a name for each id."""

    target: Target
    options: Options
    connection: Connection
    watch: Watch
    guests: Guests
    supplies: Supplies
    with_statements: bool
    processes: dict[int, str]
    own_ports: set[int]

    @property
    def names(self) -> list[str]:
        return [guest.name for guest in self.supplies.guests]


@contextmanager
def prepared(target: Target, options: Options) -> Iterator[Bench]:
    """Guests, dishes, and a full hour. Raises StartFailed."""
    with connected(target.database) as connection, connected(target.database) as watching:
        guests = Guests(Host(target.gateway), options.guests)
        stocked = supplies(connection, guests, options.dishes)
        fill_busy_hour(connection, guests.host, stocked)
        counted = statements.count_statements(connection)
        processes = _processes(target, connection, watching)
        ports = {each.run(PORT)[0][0] for each in (connection, watching)}
        watch = Watch(watching, SELDOM, options.patience)
        yield Bench(target, options, connection, watch, guests, stocked, counted, processes, ports)


def _processes(target: Target, *own: Connection) -> dict[int, str]:
    """The system's processes, and the two of PostgreSQL that work for the measuring side alone."""
    named = {pid: name for name, pid in target.processes.items()}
    if "PostgreSQL" in target.processes:
        named |= {connection.run(BACKEND)[0][0]: OWN_SQL for connection in own}
    return named
