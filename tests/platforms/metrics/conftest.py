"""A running system with a story behind it, and a real Prometheus that scrapes it."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from functions.shared import exact_json
from functions.shared.events import STRUCTURED
from schemas.events import ALL
from tests.conftest import API, User
from tests.platforms.programs import find
from tests.stories.conftest import Stage, Tap
from tests.system import Http, System, eventually
from tools.local import children
from tools.local.processes import free_port
from tools.local.scrape import configuration


class Prometheus:
    """A server of Prometheus, asked over its own API."""

    def __init__(self, system: System, directory: Path):
        self.http = Http(f"http://127.0.0.1:{free_port()}")
        file = directory / "prometheus.yml"
        file.write_text(configuration(system.plan, interval="1s"))
        command = [find("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
        command.append(f"--web.listen-address={self.http.base.removeprefix('http://')}")
        self.log = directory / "prometheus.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)

    def ready(self) -> bool:
        try:
            return self.http.get("/-/ready").status == 200
        except Exception:
            assert self.process.poll() is None, self.log.read_text()
            return False

    def api(self, path: str) -> Any:
        answer = self.http.get(f"/api/v1/{path}")
        assert answer.status == 200, answer.text
        return answer.json["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The samples that a query finds now."""
        return self.api(f"query?query={quote(query)}")["result"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def prometheus(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus beside the system, every process of which it has reached."""
    cron = system.plan.triggers["cron"]
    cron.environment["CRON_EVERY_SECONDS"] = "1"
    cron.start()
    server = Prometheus(system, tmp_path_factory.mktemp("prometheus"))
    try:
        eventually(server.ready, "Prometheus")
        eventually(lambda: _all_up(server), "every process scraped", 60)
        yield server
    finally:
        server.stop()
        children.stop([cron])


def _all_up(server: Prometheus) -> bool:
    states = [target["health"] for target in server.api("targets")["activeTargets"]]
    return bool(states) and set(states) == {"up"}


@pytest.fixture(scope="module")
def story(system: System, new_user: Callable[..., User], prometheus: Prometheus) -> dict[str, str]:
    """Orders of the four outcomes, an event that nobody can handle, one that comes too early and one twice."""
    tap = Tap(system)
    stage = Stage(system, new_user, tap)
    _orders(stage)
    # A rate is the difference of two samples: what was counted before the first one would never show in it.
    eventually(lambda: prometheus.ask("sum(orders_ended_total) >= 4"), "the first orders scraped", 60)
    outcomes = _orders(stage)
    _trouble(system, prometheus, again=stage.events(outcomes["completed"])[0])
    tap.close()
    return outcomes


def _orders(stage: Stage) -> dict[str, str]:
    day = stage.busy_day()
    guest, poor, dish = stage.new_user(1000), stage.new_user(1), stage.dish()
    sold_out = stage.dish(stock=1)
    outcomes = {
        "completed": stage.order(guest, stage.body(guest, dish)),
        "no money": stage.order(poor, stage.body(poor, dish)),
        "sold out": stage.order(guest, stage.body(guest, sold_out)),
        "couriers busy": stage.order(guest, stage.body(guest, dish, deliveryDate=day)),
    }
    assert stage.settled(*outcomes.values()) == ["Completed", "Canceled", "Canceled", "Canceled"]
    return outcomes


def _trouble(system: System, prometheus: Prometheus, again: str) -> None:
    bad = _event("pay.sale") | {"data": {"orderId": "x"}}
    for body in (again, exact_json.dumps(bad), exact_json.dumps(_event("order.result"))):
        assert system.broker.post(data=body, headers={"Content-Type": STRUCTURED}).status == 202
    assert system.gateway.post(f"{API}/external/order", json={}).status == 401
    for outcome in ("again", "dead_letter"):
        query = f'sum(dispatcher_events_total{{outcome="{outcome}"}}) > 0'
        eventually(lambda query=query: prometheus.ask(query), f"{outcome} scraped", 60)


def _event(short: str) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": f"homework.arch.{short}"}
    return head | {"data": ALL[short].example | {"orderId": uuid.uuid4().hex}}
