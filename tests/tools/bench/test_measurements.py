"""What is made of readings: percentiles, ratios, costs of an order, ends that were meant."""

import random
from pathlib import Path

import pytest

from tests.tools.bench.conftest import sent_order
from tools.bench import measure, outcomes, report, session
from tools.bench.orders import Outcome
from tools.bench.outcomes import End


def test_a_percentile_is_a_value_that_so_many_do_not_exceed():
    values = [float(n) for n in range(1, 101)]
    random.Random(3).shuffle(values)

    assert [1, 50, 95, 99, 100] == [outcomes.percentile(values, percent) for percent in (0, 50, 95, 99, 100)]
    assert 7.0 == outcomes.percentile([7.0], 50)
    assert 2.0 == outcomes.percentile([1.0, 2.0, 3.0], 50)


def test_latencies_are_milliseconds():
    measurements = outcomes.latencies("settled", [0.010, 0.020])

    assert (10, 20, 20) == tuple(pytest.approx(measurements[f"settled_ms.{name}"]) for name in ("p50", "p99", "max"))


def test_an_intended_start_counts_the_wait_before_the_request():
    sent, end = sent_order("1", Outcome.COMPLETED, began=100.0), End("", accepted=103.0, ended=104.0, notified=105.0)

    by_intent = outcomes.all_latencies([sent], {"1": end}, by_intent=True)
    by_acceptance = outcomes.all_latencies([sent], {"1": end}, by_intent=False)

    assert (4000, 1000) == (by_intent["settled_ms.p50"], by_acceptance["settled_ms.p50"])
    assert (5000, 2000) == (by_intent["total_ms.p50"], by_acceptance["total_ms.p50"])
    assert 1000 == by_intent["notification_ms.p50"] == by_acceptance["notification_ms.p50"]


def reported(**measurements: float | None) -> report.Report:
    found = report.Report({})
    found.add("burst-9", measure.Result(measurements))
    return found


def test_a_comparison_shows_the_ratio_to_the_earlier_measurement(tmp_path: Path):
    report.write(reported(settled_per_second=50.0), tmp_path / "before.json")

    lines = list(report.table(reported(settled_per_second=100.0), report.medians(tmp_path / "before.json")))

    assert ["settled_per_second", "100", "x2.00"] == lines[1].split()


def test_several_runs_are_shown_by_median_and_range():
    found = reported(orders=10.0)
    for orders in (30.0, 20.0):
        found.add("burst-9", measure.Result({"orders": orders}))

    assert report.Spread(20.0, 10.0, 30.0) == found.spreads("burst-9")["orders"]
    assert ["orders", "20", "[10..30]"] == list(report.table(found))[1].split()


def test_what_could_not_be_measured_is_not_available():
    assert "sql.statements  not available" == list(report.table(reported(**{"sql.statements": None})))[1]


def test_an_order_costs_the_difference_of_two_readings_and_not_the_client():
    by_process = measure.by_process("cpu_ms", {"order": 2.0, "PostgreSQL": 3.0, "client": 5.0, session.OWN_SQL: 7.0})

    assert 5.0 == by_process["cpu_ms.sum"]
    assert 7.0 == by_process[f"cpu_ms.{session.OWN_SQL}"]


def test_an_order_that_ends_as_it_was_meant_to_is_no_mistake():
    sent = [sent_order(outcome.label, outcome) for outcome in Outcome]

    assert [] == outcomes.mistakes(sent, {each.label: End(each.value, 0.0, 1.0, 2.0) for each in Outcome})


@pytest.mark.parametrize(
    ("end", "mistake"),
    [
        (End(Outcome.BUSY.value, 0.0, 1.0, 2.0), "expected 'Заказ успешно создан', got 'Все курьеры заняты."),
        (End(None, 0.0, None, None), "not ended"),
        (End(Outcome.COMPLETED.value, 0.0, 1.0, None), "not told"),
        (None, "not in the database"),
    ],
)
def test_an_order_that_ends_otherwise_is_a_mistake(end: End | None, mistake: str):
    sent = [sent_order("1", Outcome.COMPLETED), sent_order("2", Outcome.COMPLETED)]

    (text,) = outcomes.mistakes(sent, {"1": end, "2": end} if end else {})

    assert text.startswith("2 x completed: ")
    assert mistake in text
