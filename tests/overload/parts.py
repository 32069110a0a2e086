"""What is short, and for how long; every part gives what was wrong, and prints what it saw."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from functions.order.notice import notice_event
from functions.shared import exact_json
from tests.chaos.toxiproxy import STALL
from tests.chaos.world import RABBITMQ, World
from tests.overload.pressure import NOT_COME, Crowd, Seen
from tests.system import eventually, own_directory
from tools.local.processes import wait_until
from triggers.http_server import MOST_CONNECTIONS

FACTOR = 5
MORE_THAN_ENDS = 600  # orders a second, on any machine that this was ever run on
USUAL = 5.0  # orders a second while something is short
MORE_MEMORY = 400.0  # MiB that the whole system may take beside what it has
AT_ONCE = 2.0  # seconds: who is refused hears it within so long
OUTAGE = 5.0  # the same while a server is away, which takes a while to find out
TMPFS = {"postgres": "1g", "rabbitmq": "300m"}
# As in production, but for what is so far apart that nobody would wait for it.
ENVIRONMENT = {"AUTH_ACCESS_SECONDS": "86400", "SAGA_TRIES": "1000"}
OPEN = """
    SELECT count(*) AS open FROM "order".orders WHERE ended_at IS NULL
"""
LACKING = """
    SELECT count(*) AS lacking FROM unnest(CAST(:ids AS text[])) AS sent (id)
     WHERE NOT EXISTS (SELECT FROM notification.emails e WHERE e.order_id = sent.id)
"""
ENDED = """SELECT order_id, username, email, reason FROM "order".orders WHERE ended_at IS NOT NULL LIMIT 1000"""


@dataclass
class Stage:
    """The running system, the crowd before it, and every order that was accepted."""

    world: World
    crowd: Crowd
    accepted: list[str]
    small_disks: bool

    @property
    def processes(self) -> dict[int, str]:
        """Everything whose memory is looked at."""
        servers = {"PostgreSQL": self.world.postgres.pid, "RabbitMQ": self.world.rabbitmq.pid}
        ours = {process.pid: name for name, process in self.world.processes.items() if process.pid}
        return ours | {pid: name for name, pid in servers.items() if pid}

    def press(self, rate: float, seconds: float, connections: int = 512) -> Seen:
        """Orders at a rate; what was accepted has to end."""
        seen = self.crowd.press(rate, seconds, self.processes, connections)
        self.accepted += seen.accepted
        return seen

    @contextmanager
    def pressing(self, rate: float, seconds: float) -> Iterator[list[Seen]]:
        """The same, beside what is done meanwhile; what was seen is there at the end."""
        seen: list[Seen] = []
        with ThreadPoolExecutor(1) as thread:
            pressing = thread.submit(self.press, rate, seconds)
            yield seen
            seen.append(pressing.result())

    def until_ended(self, seconds: float) -> str | None:
        """Wait until all that was accepted has ended and was told; what to say when that takes too long."""
        if wait_until(lambda: self._left() == (0, 0), seconds, every=0.2):
            return None
        return "after {:g} s: {} orders have not ended, {} have no mail".format(seconds, *self._left())

    def _left(self) -> tuple[int, int]:
        try:
            return self.world.sql.value(OPEN), self.world.sql.value(LACKING, ids=self.accepted)
        except Exception:
            # PostgreSQL is still starting.
            return -1, -1


@contextmanager
def staged(keep: bool) -> Iterator[Stage]:
    """A system of its own; where root may mount, its servers have small disks."""
    with ExitStack() as stack:
        directory = stack.enter_context(own_directory("food-overload-", keep))
        small = all([_mounted(stack, directory / name, size) for name, size in TMPFS.items()])
        world = World(directory, environment=ENVIRONMENT)
        stack.callback(world.stop)
        world.start()
        connection = world.sql.connected()
        if small:
            # What is to fill the disk is what the part writes.
            connection.run("ALTER SYSTEM SET max_wal_size = '64MB'")
            connection.run("ALTER SYSTEM SET min_wal_size = '32MB'")
            connection.run("SELECT pg_reload_conf()")
        yield Stage(world, Crowd(world.gateway, connection), [], small)


def _mounted(stack: ExitStack, directory: Path, size: str) -> bool:
    directory.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return False
    stack.callback(subprocess.run, ["umount", "--lazy", str(directory)], check=False)
    return True


def _judged(seen: Seen, allowed: set[str], at_once: float = OUTAGE) -> Iterator[str]:
    """What no guest may see."""
    for line in seen.lines():
        print(f"  {line}", flush=True)
    if strange := {status: count for status, count in seen.statuses.items() if status not in allowed}:
        yield f"expected {', '.join(sorted(allowed))}; got {strange}"
    if (slow := seen.slowest("503")) > at_once:
        yield f"expected 503 within {at_once:g} s, got it after {slow:.1f} s (p99)"
    if seen.memory and max(seen.memory) - seen.memory[0] > MORE_MEMORY:
        yield f"expected at most {MORE_MEMORY:g} MiB more, got {max(seen.memory) - seen.memory[0]:.0f} MiB more"


def flood(stage: Stage, share: float) -> Iterator[str]:
    """Five times as many orders as it can end, for two minutes."""
    seconds = 120 * share
    began, before = time.monotonic(), len(stage.accepted)
    usual = stage.press(MORE_THAN_ENDS, 5.0)
    if left := stage.until_ended(300):
        yield left
    capacity = (len(stage.accepted) - before) / (time.monotonic() - began)
    print(f"  it ends {capacity:.1f} orders a second, {sum(usual.statuses.values())} came at once", flush=True)
    # As many connections as the gateway takes; when all of them wait for an answer, nobody else can come.
    yield from _judged(stage.press(FACTOR * capacity, seconds, MOST_CONNECTIONS), {"200", "503", NOT_COME}, AT_ONCE)


def database(stage: Stage, share: float) -> Iterator[str]:
    """PostgreSQL is away for five minutes."""
    seconds = 300 * share
    with stage.pressing(USUAL, seconds) as seen:
        time.sleep(seconds * 0.05)
        stage.world.postgres.stop()
        time.sleep(seconds * 0.9)
        stage.world.postgres.start()
    yield from _judged(seen[0], {"200", "503"})


def memory(stage: Stage, share: float) -> Iterator[str]:
    """RabbitMQ has no memory left for a minute: it takes nothing."""
    yield from _alarmed(stage, {"vm_memory_high_watermark.absolute": "1MB"}, 60 * share)


def alarm(stage: Stage, share: float) -> Iterator[str]:
    """RabbitMQ has less disk than it wants for a minute: it takes nothing."""
    yield from _alarmed(stage, {"disk_free_limit.absolute": "900000GB"}, 60 * share)


def _alarmed(stage: Stage, settings: dict[str, str], seconds: float) -> Iterator[str]:
    server = stage.world.rabbitmq
    with stage.pressing(USUAL, seconds) as seen:
        server.settings = settings
        server.restart()
        time.sleep(seconds * 0.8)
        server.settings = {}
        server.restart()
    yield from _judged(seen[0], {"200", "503"})


def stall(stage: Stage, share: float) -> Iterator[str]:
    """RabbitMQ holds every byte for a minute, and closes nothing."""
    seconds = 60 * share
    with stage.pressing(USUAL, seconds * 1.2) as seen, stage.world.proxy.toxic(RABBITMQ, STALL):
        time.sleep(seconds)
    yield from _judged(seen[0], {"200", "503"})


def disk(stage: Stage, share: float) -> Iterator[str]:
    """No byte is left on the disk of PostgreSQL for a minute, then on that of RabbitMQ."""
    if not stage.small_disks:
        print("  SKIPPED: only root may mount the small disks that it needs", flush=True)
        return
    for server in (stage.world.postgres, stage.world.rabbitmq):
        seconds = 60 * share
        with stage.pressing(USUAL, seconds) as seen:
            filler = server.directory / "filler"
            _fill(filler)
            time.sleep(seconds * 0.8)
            filler.unlink(missing_ok=True)
            # A server that could not go on without disk has ended; the system's supervisor starts it again.
            if not server.pid:
                print(f"  {type(server).__name__} has ended, and is started again", flush=True)
                server.start()
        yield from _judged(seen[0], {"200", "503"})


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb") as file:
        while True:
            file.write(bytes(65536))
            file.flush()


def queue(stage: Stage, share: float) -> Iterator[str]:
    """A queue of 100,000 events that nobody has taken yet, and orders behind them."""
    count = int(100_000 * share)
    world = stage.world
    known = world.sql.rows(ENDED)
    channel = world.system.channel()
    name = world.system.queue("notification.email")
    with world.held("broker") as broker:
        broker.signal(9)
        eventually(lambda: not broker.runs, "its end")
        for number in range(count):
            _publish(channel, name, known[number % len(known)])
        print(f"  {channel.queue_declare(name, passive=True).method.message_count} events wait", flush=True)
    began = time.monotonic()
    with stage.pressing(USUAL, 60 * share) as seen:
        eventually(lambda: channel.queue_declare(name, passive=True).method.message_count < 100, "its end", 900, 0.2)
        seconds = time.monotonic() - began
        print(f"  it was empty after {seconds:.0f} s: {count / seconds:.0f} events a second", flush=True)
    channel.connection.close()
    yield from _judged(seen[0], {"200", "503"})


def _publish(channel: BlockingChannel, queue: str, order: Any) -> None:
    """The mail of an order that has it already: an event that comes again."""
    event = notice_event(order)
    attributes = event.get_attributes() | {"content-type": "application/json"}
    headers = {name: value for name, value in attributes.items() if name != "datacontenttype"}
    properties = pika.BasicProperties(headers=headers, content_type="application/json", delivery_mode=2)
    channel.basic_publish("", queue, exact_json.dumps(event.data).encode(), properties)


PARTS: dict[str, Callable[[Stage, float], Iterator[str]]] = {
    part.__name__: part for part in (flood, database, memory, alarm, stall, disk, queue)
}
