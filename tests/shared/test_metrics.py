"""Metrics: what was done is counted once, by whoever did it, and also when several processes do it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.shared import exact_json
from functions.shared.events import BATCH, STRUCTURED
from schemas.events import ALL
from tests.clients import API, order_of
from tests.fakes import FakeFunction
from tests.metrics import Metrics, metrics_of
from tests.processes import child, end, run, start, trigger
from tests.system import OURS, Http, Rows, System, eventually
from tests.triggers.test_cron import stack
from tools.local.children import Child
from tools.local.processes import free_port
from tools.local.scrape import configuration
from tools.role_url import role_url
from triggers.stack import ROOT, load

SALE = {"function": "pay-sale", "type": "homework.arch.pay.sale"}
EVENTS, REQUESTS = "function_events_total", "function_request_duration_seconds_count"


def event(short: str, **changes: Any) -> str:
    """An event with the example's data, new unless an id is given."""
    attributes = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": f"homework.arch.{short}"}
    data = ALL[short].example | {"orderId": changes.pop("order", uuid.uuid4().hex)} | changes.pop("data_", {})
    return exact_json.dumps(attributes | changes | {"data": data})


def send(function: Http, body: str) -> int:
    return function.post(data=body, headers={"Content-Type": STRUCTURED}).status


class Change:
    """What a process has counted since this was made."""

    def __init__(self, process: Callable[[], Metrics]):
        self._now, self._before = process, process()

    def of(self, name: str, **labels: str) -> float:
        return self._now().sum(name, **labels) - self._before.sum(name, **labels)


@pytest.fixture(scope="module")
def exported(system: System) -> Callable[[str], Metrics]:
    """The metrics of a process by its name, as they are now."""

    def ask(name: str) -> Metrics:
        address, path = system.plan.scraped[name]
        return metrics_of(Http(f"http://{address}", OURS), path)

    return ask


@pytest.fixture(scope="module")
def counted(exported: Callable[[str], Metrics]) -> Callable[[str], Change]:
    """What a process, by its name, has counted since."""
    return lambda name: Change(lambda: exported(name))


@pytest.fixture
def ended_order(system: System, new_user: Callable, restocked: None) -> str:  # noqa: ARG001 - there has to be food
    """An order that was completed just now, with its mail."""
    user = new_user(1000)
    answer = system.gateway.post(f"{API}/external/order", json=order_of(user), token=user.token)
    order = answer.json["orderId"]
    mailed = "SELECT count(*) FROM notification.emails WHERE order_id = :id"
    eventually(lambda: system.sql.value(mailed, id=order), "the mail")
    return order


pytestmark = pytest.mark.usefixtures("audited")

# Functions


def test_an_event_is_done_as_often_as_it_comes(system, counted):
    change, sent = counted("pay"), event("pay.sale")

    assert [200, 200] == [send(system.function("pay-sale"), sent) for _ in range(2)]
    assert [2, 0] == [change.of(EVENTS, **SALE, outcome=o) for o in ("done", "failed")]


@pytest.mark.parametrize(
    ("short", "body", "outcome", "answered"),
    [
        ("pay.sale", "{}", "never", "failed"),
        ("pay.sale", event("pay.sale", type="homework.arch.pay.refund"), "never", "failed"),
        ("order.result", event("order.result"), "not_yet", "not_now"),
    ],
    ids=["no event", "of another type", "too early"],
)
def test_an_event_that_is_not_done_is_counted_by_why(system, counted, short, body, outcome, answered):
    change, name = counted(short.partition(".")[0]), short.replace(".", "-")

    send(system.step(short), body)

    assert 1 == change.of(EVENTS, function=name, type=f"homework.arch.{short}", outcome=outcome)
    assert 1 == change.of(REQUESTS, function=name, outcome=answered)


def test_every_outcome_of_an_event_is_there_before_the_first(exported):
    outcomes = {s.labels["outcome"] for s in exported("notification").samples if s.name == "function_events_total"}

    assert {"done", "not_yet", "not_now", "failed", "never"} == outcomes


def test_requests_are_timed_by_function_and_outcome(system, counted):
    change = counted("billing")

    assert 405 == system.function("billing-balance-get").get().status
    assert 1 == change.of(REQUESTS, function="billing-balance-get", outcome="refused")


def test_a_body_that_is_too_large_is_counted_as_refused(system, counted):
    change = counted("billing")
    assert 413 == system.function("billing-internal-get").post(data="x" * 2_000_000).status
    assert 1 == change.of(REQUESTS, function="billing-internal-get", outcome="refused")


def test_any_function_tells_the_metrics_of_its_whole_process(system, exported):
    metrics = metrics_of(system.function("billing-withdraw"))

    assert {s.name for s in metrics.samples} == {s.name for s in exported("billing").samples}
    assert metrics.of("function_requests_in_progress", function="billing-balance-get")


def test_a_process_tells_what_it_uses(exported):
    metrics = exported("store")

    assert 1 == len(metrics.of("process_cpu_seconds_total"))
    assert metrics.sum("process_resident_memory_bytes") > 10_000_000
    assert 1 == len(metrics.of("process_start_time_seconds"))


def test_ended_orders_are_counted_by_status_and_reason(exported, ended_order):
    completed = {"status": "Completed", "reason": "Заказ успешно создан"}

    assert ended_order
    assert 1 <= exported("order").sum("orders_ended_total", **completed)


@pytest.fixture
def alone(fresh_database: Callable, secrets: Path, started_alone: Callable) -> Callable:
    """One function of an owner on a database where nobody else works: Flask's client, and SQL."""
    url, nowhere = fresh_database(), free_port()
    passwords = json.loads((secrets / "roles.json").read_text())

    def start_of(owner: str, name: str = "metrics") -> tuple[Any, Rows]:
        # Events of this database are for nobody: the system's broker would take them for its own.
        exported = {"DATABASE_URL": role_url(url, owner, passwords[owner]), "BROKER_URL": f"http://127.0.0.1:{nowhere}"}
        return started_alone(owner, name, **exported), Rows(url)

    return start_of


ORDER = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, redrive_at, status, reason,
                                accepted_at, ended_at, notified_at, needs_attention_at)
    VALUES (:id, :id, 'anna', 'anna@example.org', '{}', 1, now(), :status, :reason,
            now() - interval '1 hour', :ended, :ended, :lost)
"""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def ago(**time: int) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def test_orders_that_end_in_one_batch_are_all_counted(alone):
    function, sql = alone("order", "result")
    orders = [uuid.uuid4().hex for _ in range(3)]
    for order in orders:
        sql.rows(ORDER, id=order, status="Created", reason=None, ended=None, lost=None)
    change = Change(lambda: Metrics(function.get("/_/metrics").text))

    batch = "[" + ",".join(event("order.result", order=order) for order in orders) + "]"

    assert 200 == function.post("/", data=batch, content_type=BATCH).status_code
    assert 3 == change.of("orders_ended_total", status="Completed")


# Metrics that are looked up


def looked_up(function: Any) -> Metrics:
    return Metrics(function.get("/internal/metrics").text)


def test_orders_are_told_by_where_they_stand_and_the_open_ones_by_their_age(alone):
    function, sql = alone("order")
    metrics = partial(looked_up, function)
    assert (0, 0) == (metrics().sum("orders_open"), metrics().sum("orders_oldest_open_age_seconds"))

    stories = [("Accepted", None, None, None), ("Created", None, None, ago()), ("Canceled", "why", ago(), None)]
    for number, (status, reason, ended, lost) in enumerate([*stories, ("Canceled", "why", LONG_AGO, None)]):
        sql.rows(ORDER, id=str(number), status=status, reason=reason, ended=ended, lost=lost)

    assert [1, 1] == [metrics().sum("orders_open", status=status) for status in ("Accepted", "Created")]
    assert [1] == metrics().of("orders_ended_last_day", status="Canceled", reason="why")
    assert 1 == metrics().sum("orders_needing_attention")
    assert 3600 <= metrics().sum("orders_oldest_open_age_seconds") < 3700


def test_what_waits_in_the_outbox_has_an_age_and_what_was_refused_is_counted_apart(alone):
    function, sql = alone("order")
    metrics = partial(looked_up, function)
    assert (0, 0) == (metrics().sum("order_outbox_rows"), metrics().sum("order_outbox_oldest_age_seconds"))

    put = """INSERT INTO "order".outbox (id, event, written_at, refusal) VALUES (:id, '{}', :at, :refusal)"""
    sql.rows(put, id="refused", at=LONG_AGO, refusal="400 no event")
    sql.rows(put, id="waits", at=ago(minutes=9), refusal=None)

    assert (1, 1) == (metrics().sum("order_outbox_rows"), metrics().sum("order_outbox_refused_rows"))
    assert 540 <= metrics().sum("order_outbox_oldest_age_seconds") < 700


def test_dead_letters_that_wait_are_told_with_who_failed(alone):
    function, sql = alone("ops")
    metrics = partial(looked_up, function)
    keep = """
        INSERT INTO ops.dead_letters (function, source, id, type, event, reason, attempts, first_at, replayed_at)
        VALUES ('pay-sale', '/test', :id, 't', '{}', 'r', 1, :first, :replayed)
    """
    sql.rows(keep, id="waits", first=ago(hours=1), replayed=None)
    sql.rows(keep, id="replayed", first=LONG_AGO, replayed=LONG_AGO)

    assert [1] == metrics().of("dead_letters_waiting_of_function", function="pay-sale")
    assert 1 == metrics().sum("dead_letters_waiting")
    assert 3600 <= metrics().sum("dead_letters_oldest_age_seconds") < 3800


def test_the_system_tells_the_orders_of_its_tables(system, exported, ended_order):
    found = """SELECT count(*) FROM "order".orders WHERE ended_at > now() - interval '1 day'"""

    assert ended_order
    assert system.sql.value(found) == exported("order-metrics").sum("orders_ended_last_day")


@pytest.mark.parametrize("owner", ["order", "ops"])
def test_without_a_database_the_metrics_are_not_now(started_alone, owner):
    client = started_alone(owner, "metrics", DATABASE_URL=f"postgresql://x:x@127.0.0.1:{free_port()}/none")

    assert 503 == client.get("/internal/metrics").status_code
    assert 200 == client.get("/_/metrics").status_code


# Gateway, ingress, dispatcher, cron


def test_the_metrics_of_the_gateway_are_not_for_everybody(system, counted):
    change = counted("gateway")

    assert 404 == system.gateway.get("/_/metrics").status
    assert 1 == change.of("gateway_request_duration_seconds_count", function="none", outcome="refused")


def test_no_public_path_leads_to_the_metrics_of_a_function(gateway):
    public = {(f.method, path) for f in load() if f.is_public for path in f.paths}
    alike = [(method, re.sub(r"\{\w+\}/\{\w+\}$", "_/metrics", path)) for method, path in public]
    alike = [(method, path) for method, path in alike if path.endswith("/_/metrics")]

    assert alike
    assert {401} == {gateway.request(method, path).status for method, path in alike}


def test_the_ingress_counts_types_that_it_knows_and_all_others_as_one(system, counted, exported):
    name, change = "ingress_event_duration_seconds_count", counted("ingress")
    made_up = f"made.up.{uuid.uuid4().hex}"

    assert [202, 202, 400] == [
        send(system.broker, body) for body in (event("pay.sale", type=made_up), event("pay.sale", type="x"), "{}")
    ]
    assert [2, 1] == [change.of(name, type="other", outcome=outcome) for outcome in ("taken", "refused")]
    assert not exported("ingress").of(name, type=made_up)


def test_the_dispatcher_tells_deliveries_lag_and_queues(system, exported, ended_order):
    metrics = exported("dispatcher")

    assert ended_order
    last = {"function": "notification-send-email"}
    assert 1 <= metrics.sum("dispatcher_events_total", **last, outcome="done")
    assert 1 <= metrics.sum("dispatcher_event_lag_seconds_count", **last)
    assert 1 <= metrics.sum("dispatcher_call_duration_seconds_count", **last, outcome="done")
    assert [1] == metrics.of("dispatcher_connected")
    assert [0] == metrics.of("broker_queue_messages", queue=system.queue("notification.email"))
    assert 20 == len(metrics.of("broker_queue_messages"))


def test_an_event_that_fails_for_ever_is_a_dead_letter_in_the_metrics(system, counted):
    change, letters = counted("dispatcher"), {"function": "pay-sale", "outcome": "dead_letter"}

    assert 202 == send(system.broker, event("pay.sale", data_={"amount": "much"}))
    assert 1 == eventually(lambda: change.of("dispatcher_events_total", **letters), "a dead letter")


@pytest.fixture
def cron(tmp_path: Path) -> Iterator[Child]:
    """Cron with one function that works and one that is not there."""
    works = FakeFunction(lambda _: (200, {}, b"{}")).start()
    urls = tmp_path / "urls.json"
    urls.write_text(json.dumps({"works": works.url, "away": f"http://127.0.0.1:{free_port()}"}))
    process = trigger(
        "cron",
        tmp_path,
        STACK_FILE=stack(tmp_path, works="@every 10s", away="@every 10s"),
        FUNCTION_URLS=urls,
        CRON_EVERY_SECONDS=0.05,
        METRICS_PORT=free_port(),
    )
    process.health = f"http://127.0.0.1:{process.environment['METRICS_PORT']}/_/metrics"
    yield start(process)
    end(process)
    works.stop()


def test_cron_counts_runs_that_worked_and_runs_that_failed(cron):
    def metrics() -> Metrics:
        return metrics_of(Http(f"http://127.0.0.1:{cron.environment['METRICS_PORT']}"))

    eventually(lambda: metrics().sum("cron_runs_total", function="works", outcome="done"), "a run")
    eventually(lambda: metrics().sum("cron_runs_total", function="away", outcome="failed"), "a run that failed")
    assert 0 == metrics().sum("cron_runs_total", function="away", outcome="done")
    assert metrics().of("cron_last_success_timestamp_seconds", function="works")
    assert not metrics().of("cron_last_success_timestamp_seconds", function="away")


@pytest.mark.parametrize("name", ["gateway", "dispatcher", "cron"])
def test_a_taken_port_for_metrics_is_told_in_one_line(name):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        answer = run(f"triggers.{name}", AMQP_URL="amqp://127.0.0.1/", PORT=free_port(), METRICS_PORT=port)
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line and line.endswith("set METRICS_PORT")


# Several workers


class Workers:
    """The functions of `pay` in two worker processes, without a database."""

    def __init__(self, directory: Path):
        self.shared, port = directory / "metrics", free_port()
        self.http = Http(f"http://127.0.0.1:{port}", OURS)
        command = [sys.executable, "-m", "triggers.serve_owner", "--owner", "pay"]
        command += ["--port", str(port), "--threads", "1"]
        exported = {
            "DATABASE_URL": f"postgresql://pay@127.0.0.1:{free_port()}/nothing",
            "WORKERS": "2",
            "PROMETHEUS_MULTIPROC_DIR": str(self.shared),
        }
        self.process = child("pay", command, directory, f"{self.http.base}/_/health", **exported)

    @property
    def children(self) -> list[int]:
        """All processes that the parent has started: workers, and one that Python cleans up with."""
        parent = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def pids(self) -> list[int]:
        """The worker processes."""
        return [pid for pid in self.children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def refused(self) -> float:
        """Events that were told to be never handled, whoever took them."""
        return metrics_of(self.http).sum("function_events_total", function="pay-sale", outcome="never")

    def counted_by(self) -> set[int]:
        """The workers that have counted something."""
        return {int(path.stem.rpartition("_")[2]) for path in self.shared.glob("histogram_*.db")}

    def busy(self) -> None:
        """Send bad events, each by a connection of its own, until both workers have counted some."""
        for _ in range(200):
            Http(f"{self.http.base}/function/pay-sale", OURS).post(data="{}")
            if set(self.pids()) <= self.counted_by():
                return
        raise AssertionError("one worker takes everything")


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    start(made.process)
    eventually(lambda: len(made.pids()) == 2, "two workers")
    yield made
    end(made.process)


def test_several_workers_are_one_in_their_metrics(workers):
    workers.busy()

    sent = workers.refused()
    assert 2 <= sent
    assert [sent] * 10 == [workers.refused() for _ in range(10)]


def test_every_process_tells_what_it_uses_by_its_id(workers):
    metrics = metrics_of(workers.http)

    pids = {s.labels["pid"] for s in metrics.samples if s.name == "process_cpu_seconds_total"}
    assert {str(pid) for pid in (workers.process.pid, *workers.children)} == pids
    assert all(value > 10_000_000 for value in metrics.of("process_resident_memory_bytes"))


def test_what_a_dead_worker_has_counted_stays_and_what_it_was_doing_goes(workers):
    workers.busy()
    dead, sent = workers.pids()[0], workers.refused()
    os.kill(dead, signal.SIGKILL)
    eventually(lambda: dead not in workers.pids() and len(workers.pids()) == 2, "another worker")

    assert sent == workers.refused()
    assert not list(workers.shared.glob(f"gauge_live*_{dead}.db"))
    assert list(workers.shared.glob(f"counter_{dead}.db"))


def test_workers_without_a_directory_make_one_and_take_it_away(tmp_path):
    process = Workers(tmp_path).process
    del process.environment["PROMETHEUS_MULTIPROC_DIR"]
    process.environment["TMPDIR"] = str(tmp_path)
    start(process)
    made = list(tmp_path.glob("metrics-*"))
    assert 0 == end(process)

    assert 1 == len(made)
    assert not made[0].exists()


# Where Prometheus finds them


def test_prometheus_is_told_of_every_process_and_every_function_that_looks_metrics_up(system):
    jobs = {job["job_name"] for job in yaml.safe_load(configuration(system.plan))["scrape_configs"]}

    owners = {function.owner for function in load()}
    lookers = {function.name for function in load() if function.target == "metrics"}
    assert owners | lookers | {"gateway", "ingress", "dispatcher", "cron"} == jobs


def test_importing_metrics_leaves_the_library_the_disk_and_the_process_as_they_are(tmp_path):
    script = """
import functions.shared.telemetry.metrics, prometheus_client.metrics
print(prometheus_client.metrics._use_created)
"""
    missing = tmp_path / "missing"
    # A number of workers that is none is for the server's start to refuse.
    environment = {"WORKERS": "many", "PROMETHEUS_MULTIPROC_DIR": str(missing), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert (0, "True\n") == (done.returncode, done.stdout), done.stderr
    assert [] == [*tmp_path.iterdir()]


def test_nobody_is_told_when_a_metric_was_first_seen(exported):
    samples = [sample for process in ("billing", "ingress", "dispatcher") for sample in exported(process).samples]
    names = {sample.name for sample in samples}
    assert "function_requests_in_progress" in names
    assert [] == [name for name in names if name.endswith("_created")]
