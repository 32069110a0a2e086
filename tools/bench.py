"""Measure the running local system: how long one order takes when nothing else goes on, how many go through at once.

Figures of a shared machine vary by a factor from run to run: compare within one run, and look at the ratios.
"""

import json
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pg8000.native
import urllib3

from tools.local.place import Place
from tools.local.processes import StartFailed, wait_until
from tools.migrate import connected

API = "/ui-api-service/api/v1"
DISH = 1_000_000
PATIENCE = 600

STOCK = """
    INSERT INTO store.dishes (id, name, weight_grams, price, opening_stock, in_stock)
    VALUES (:dish, 'measured dish', 100, 1.00, 1000000, 1000000) ON CONFLICT (id) DO NOTHING
"""

TOLD = "SELECT count(*) FROM notification.emails WHERE username = :username"

# From the client's request to the row in the mail table, as the database saw both.
LATENCIES = """
    SELECT extract(epoch FROM e.delivered_at - o.accepted_at)
      FROM "order".orders o JOIN notification.emails e USING (order_id)
     WHERE o.username = :username
"""


class Client:
    """A guest with money enough, who orders on days of its own."""

    def __init__(self, gateway: str, connection: pg8000.native.Connection):
        self.gateway, self.connection = gateway, connection
        self.pool = urllib3.PoolManager(maxsize=16, retries=False, timeout=30)
        self.name, self.ordered = "bench-" + uuid.uuid4().hex[:12], 0
        self.token = None
        facts = {"firstName": "B", "lastName": "B", "email": "bench@example.org", "password": "bench-1"}
        phone = "+" + str(uuid.uuid4().int)[:20]
        self.post("auth/registration", {**facts, "username": self.name, "mobilePhone": phone})
        self.token = self.post("auth/token", {"username": self.name, "password": "bench-1"})["access_token"]
        self.post("external/user/balance/add", {"username": self.name, "amount": 1_000_000})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call the public API; anything but 200 ends the measurement."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        answer = self.pool.request("POST", f"{self.gateway}{API}/{path}", body=json.dumps(body), headers=headers)
        if answer.status != 200:
            raise StartFailed(f"{path}: expected 200, got {answer.status} {answer.data[:200]!r}")
        return json.loads(answer.data)

    def order(self, number: int) -> float:
        """Order one portion; gives the seconds until the answer."""
        day = f"{number % 28 + 1:02}.{number // 28 % 12 + 1:02}.{3000 + number // 336 % 6000}"
        began = time.perf_counter()
        self.post(
            "external/order",
            {
                "msgId": str(number), "amount": 1, "discount": 0, "quantity": 1, "userName": self.name,
                "dishs": [{"menuId": DISH, "count": 1}], "deliveryDate": day, "deliveryHour": hash(self.name) % 24,
            },
        )  # fmt: skip
        return time.perf_counter() - began

    def told(self) -> int:
        """How many mails have come."""
        return self.connection.run(TOLD, username=self.name)[0][0]


def one_by_one(client: Client, count: int) -> str:
    """Order, wait for the mail, order again."""
    answers = []
    for number in range(count):
        answers.append(client.order(number))
        wait_until(lambda number=number: client.told() > number, PATIENCE, every=0.005)
    latencies = [float(seconds) for (seconds,) in client.connection.run(LATENCIES, username=client.name)]
    return (
        f"one by one, {count} orders: answer after {statistics.median(answers) * 1000:.0f} ms, "
        f"mail after {statistics.median(latencies) * 1000:.0f} ms (medians), "
        f"slowest {max(latencies) * 1000:.0f} ms"
    )


def all_at_once(client: Client, count: int) -> str:
    """Order as fast as 16 threads can, and wait for the last mail."""
    began = time.perf_counter()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(client.order, range(count)))
    accepted = time.perf_counter() - began
    if not wait_until(lambda: client.told() >= count, PATIENCE, every=0.05):
        raise StartFailed(f"only {client.told()} of {count} orders were told within {PATIENCE} s")
    ended = time.perf_counter() - began
    return f"all at once, {count} orders: {count / accepted:.0f} accepted and {count / ended:.0f} ended a second"


def memory() -> str:
    """What the processes of the system hold, in MiB (proportional set size: shared pages counted once)."""
    sizes: dict[str, float] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            lines = (process / "smaps_rollup").read_text().splitlines()
            size = next(line for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        name = next((word for word in words if word.startswith("triggers.")), None)
        if name:
            kind = "functions" if name == "triggers.host" else name.removeprefix("triggers.")
            sizes[kind] = sizes.get(kind, 0) + int(size.split()[1]) / 1024
    return "memory: " + ", ".join(f"{kind} {size:.0f} MiB" for kind, size in sorted(sizes.items()))


@click.command(help=__doc__)
@click.option("--orders", default=500, show_default=True, type=click.IntRange(1, 5000), help="orders at once")
@click.option("--alone", default=20, show_default=True, type=click.IntRange(1, 500), help="orders one by one")
def main(orders: int, alone: int) -> None:
    """See the module's text."""
    try:
        running = Place.from_environment().required_running()
        with connected(running["database"]) as connection:
            connection.run(STOCK, dish=DISH)
            click.echo(one_by_one(Client(running["gateway"], connection), alone))
            click.echo(all_at_once(Client(running["gateway"], connection), orders))
            click.echo(memory())
    except StartFailed as problem:
        raise SystemExit(f"bench: {problem}") from None


if __name__ == "__main__":
    main()
