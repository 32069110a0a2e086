"""Metrics of gateway, ingress, dispatcher and cron, and where Prometheus finds them all."""

import json
import re
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.fakes import FakeFunction
from tests.metrics import Metrics, metrics_of
from tests.processes import end, run, start, trigger
from tests.shared.telemetry.events import event, send
from tests.system import Http, eventually
from tests.triggers.test_cron import stack
from tools.local.children import Child
from tools.local.processes import free_port
from tools.local.scrape import configuration
from triggers.stack import load

pytestmark = pytest.mark.usefixtures("audited")


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
    name, change = "ingress_event_duration_seconds_count", counted("broker")
    made_up = f"made.up.{uuid.uuid4().hex}"

    assert [202, 202, 400] == [
        send(system.broker, body) for body in (event("pay.sale", type=made_up), event("pay.sale", type="x"), "{}")
    ]
    assert [2, 1] == [change.of(name, type="other", outcome=outcome) for outcome in ("taken", "refused")]
    assert not exported("broker").of(name, type=made_up)


def test_the_dispatcher_exports_deliveries_lag_and_queues(system, exported, ended_order):
    metrics = exported("broker")

    assert ended_order
    last = {"function": "notification-send-email"}
    assert 1 <= metrics.sum("dispatcher_events_total", **last, outcome="done")
    assert 1 <= metrics.sum("dispatcher_event_lag_seconds_count", **last)
    assert 1 <= metrics.sum("dispatcher_call_duration_seconds_count", **last, outcome="done")
    assert [1] == metrics.of("dispatcher_connected")
    assert [0] == metrics.of("broker_queue_messages", queue=system.queue("notification.email"))
    assert 20 == len(metrics.of("broker_queue_messages"))


def test_an_event_that_fails_for_ever_is_a_dead_letter_in_the_metrics(system, counted):
    change, letters = counted("broker"), {"function": "pay-sale", "outcome": "dead_letter"}

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
def test_a_taken_port_for_metrics_is_reported_in_one_line(name):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        answer = run(f"triggers.{name}", AMQP_URL="amqp://127.0.0.1/", PORT=free_port(), METRICS_PORT=port)
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line and line.endswith("set METRICS_PORT")


def test_prometheus_knows_every_process_and_every_function_that_looks_metrics_up(system):
    jobs = {job["job_name"] for job in yaml.safe_load(configuration(system.plan))["scrape_configs"]}

    owners = {function.owner for function in load()}
    lookers = {function.name for function in load() if function.target == "metrics"}
    assert owners | lookers | {"gateway", "broker", "cron"} == jobs
