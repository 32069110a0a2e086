"""Metrics of functions: counted and timed by outcome."""

import os
import subprocess
import sys
import uuid

import pytest

from functions.shared.events import BATCH
from tests.metrics import Metrics, metrics_of
from tests.shared.telemetry.events import EVENTS, ORDER, REQUESTS, SALE, Change, event, send
from triggers.stack import ROOT

pytestmark = pytest.mark.usefixtures("audited")


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


def test_any_function_exports_the_metrics_of_its_whole_process(system, exported):
    metrics = metrics_of(system.function("billing-withdraw"))

    assert {s.name for s in metrics.samples} == {s.name for s in exported("billing").samples}
    assert metrics.of("function_requests_in_progress", function="billing-balance-get")


def test_a_process_exports_what_it_uses(exported):
    metrics = exported("store")

    assert 1 == len(metrics.of("process_cpu_seconds_total"))
    assert metrics.sum("process_resident_memory_bytes") > 10_000_000
    assert 1 == len(metrics.of("process_start_time_seconds"))


def test_ended_orders_are_counted_by_status_and_reason(exported, ended_order):
    completed = {"status": "Completed", "reason": "Заказ успешно создан"}

    assert ended_order
    assert 1 <= exported("order").sum("orders_ended_total", **completed)


def test_orders_that_end_in_one_batch_are_all_counted(alone):
    function, sql = alone("order", "result")
    orders = [uuid.uuid4().hex for _ in range(3)]
    for order in orders:
        sql.rows(ORDER, id=order, status="Created", reason=None, ended=None, lost=None)
    change = Change(lambda: Metrics(function.get("/_/metrics").text))

    batch = "[" + ",".join(event("order.result", order=order) for order in orders) + "]"

    assert 200 == function.post("/", data=batch, content_type=BATCH).status_code
    assert 3 == change.of("orders_ended_total", status="Completed")


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


def test_the_time_when_a_metric_was_first_seen_is_not_exported(exported):
    samples = [sample for process in ("billing", "broker") for sample in exported(process).samples]
    names = {sample.name for sample in samples}
    assert "function_requests_in_progress" in names
    assert [] == [name for name in names if name.endswith("_created")]
