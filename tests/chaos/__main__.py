"""Orders and money calls while everything fails in turn: `make chaos orders=2000 seed=7`.

Guests order for the four outcomes, contend for scarce dishes and couriers, and move money. Meanwhile every process is
killed and frozen, PostgreSQL and RabbitMQ are killed and restarted, their connections are cut, delayed and stalled,
queues are purged, events come twice and out of order. Then the audit asks the tables, and a judgement from outside
asks REST. Ends with 1 when one of them finds something, or an order ends later than 60 s after the last fault.

The seed decides what the guests do and which faults happen in which order; when exactly depends on the machine.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import click

from tests.chaos.faults import Saboteur, schedule
from tests.chaos.guests import Guests
from tests.chaos.judgement import judge
from tests.chaos.world import World, running
from tests.system import Http, wait_until
from tools.audit import findings
from tools.audit import report as audit_report

LIMIT = 60.0
PATIENCE = 300.0
OPEN = """
    SELECT count(*) FROM "order".orders o
     WHERE ended_at IS NULL OR NOT EXISTS (SELECT FROM notification.emails e WHERE e.order_id = o.order_id)
"""
# Of the orders that were there when the last fault was over; one that comes later has its own time.
LAST = """
    SELECT max(extract(epoch FROM greatest(o.ended_at, e.delivered_at))) - CAST(:fault AS numeric) AS seconds
      FROM "order".orders o JOIN notification.emails e USING (order_id)
     WHERE o.accepted_at < to_timestamp(CAST(:fault AS float))
"""
COUNTS = """
    SELECT (SELECT coalesce(sum(redrives), 0) FROM "order".orders) AS redrives,
           (SELECT count(*) FROM ops.dead_letters) AS dead_letters
"""


@click.command(help=__doc__)
@click.option("--orders", default=2000, show_default=True, type=click.IntRange(1), help="how many are to be accepted")
@click.option("--seed", type=int, help="decides guests and faults; one by chance, which is printed, if not given")
@click.option("--faults", type=click.IntRange(0), help="how many happen; usually 20 to 200, by the orders")
@click.option("--old", metavar="REVISION", help="half of the functions run this revision's code")
@click.option("--keep", is_flag=True, help="keep the logs, and print where they are")
@click.option("--quiet", is_flag=True, help="print the result, and not every fault")
def main(orders: int, seed: int | None, faults: int | None, old: str | None, keep: bool, quiet: bool) -> None:
    """See the module's text."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    count = min(200, max(20, orders // 100)) if faults is None else faults
    print(f"orders={orders} seed={seed} faults={count}", flush=True)
    with running(keep, old, seed) as world:
        if old:
            print(f"of {old}: {', '.join(world.old)}", flush=True)
        problems = list(_run(world, orders, seed, count, _nothing if quiet else _say))
    print("\n".join(problems) or "0 violations")
    sys.exit(1 if problems else 0)


def _nothing(_: str) -> None:
    pass


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _run(world: World, orders: int, seed: int, count: int, say: Callable[[str], None]) -> Iterator[str]:
    guests = Guests(Http(world.gateway), world.sql, seed, orders)
    saboteur = Saboteur(world, schedule(seed, count), lambda: guests.progress, say)
    over = threading.Event()
    sabotage = threading.Thread(target=saboteur.work, args=(over,), name="saboteur")
    began = time.time()
    sabotage.start()
    guests.work(lambda: saboteur.next_at)
    over.set()
    sabotage.join()
    saboteur.last_end = saboteur.last_end or began
    ended = wait_until(lambda: _open(world) == 0, PATIENCE, every=0.2)
    late = float(world.sql.value(LAST, fault=saboteur.last_end) or 0.0)
    verdict = judge(guests.http, guests)
    _report(world, guests, saboteur, verdict.ends, time.time() - began, late)
    if not ended:
        yield f"{_open(world)} orders have not ended {PATIENCE:g} s after the last fault"
    if late > LIMIT:
        yield f"the last order ended {late:.1f} s after the last fault, expected {LIMIT:g} at the most"
    yield from saboteur.problems
    yield from guests.problems
    yield from verdict.violations
    connection = world.sql.connected()
    try:
        if found := findings(connection):
            yield audit_report(found)
    finally:
        connection.close()


def _open(world: World) -> int:
    try:
        return world.sql.value(OPEN)
    except Exception:
        # PostgreSQL is still starting.
        return -1


def _report(
    world: World, guests: Guests, saboteur: Saboteur, ends: Counter[str], seconds: float, late: float
) -> None:
    counts = world.sql.row(COUNTS)
    print(f"{len(guests.accepted)} orders accepted in {seconds:.0f} s, {len(guests.accounts)} guests")
    print("ends:      ", "; ".join(f"{number} x {reason}" for reason, number in ends.most_common()))
    print("answers:   ", ", ".join(f"{number} x {what}" for what, number in guests.answers.most_common()))
    print("faults:    ", ", ".join(f"{number} x {kind}" for kind, number in sorted(saboteur.happened.items())))
    print(f"events:     {saboteur.purged} purged, {saboteur.repeated} sent twice and out of order")
    print(f"saga:       {counts.redrives} re-drives, {counts.dead_letters} dead letters")
    print(f"last order: ended {max(0.0, late):.1f} s after the last fault", flush=True)


if __name__ == "__main__":
    main()
