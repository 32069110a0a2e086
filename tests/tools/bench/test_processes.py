"""Processes and their growth: whose time counts for whom, cold starts, the soak."""

import os
import subprocess
import sys

import pytest

from tools.bench import cold_start, resources, soak


def test_a_childs_time_counts_for_its_parent_when_it_has_ended_too():
    named = {os.getpid(): "us"}
    before = resources.cpu_ms(named)["us"]

    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.4: pass"], check=True)

    # Less than the child used: the kernel counts whole ticks of ten milliseconds.
    assert 300 <= resources.cpu_ms(named)["us"] - before < 3000


def test_a_named_child_counts_for_itself():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        together = resources.memory_mib({os.getpid(): "us"})
        apart = resources.memory_mib({os.getpid(): "us", child.pid: "child"})
        child.communicate(b"\n")

    assert {"us"} == set(together)
    assert {"us", "child"} == set(apart)


def test_a_cold_start_is_shown_beside_the_bare_one():
    bare = [cold_start.Started(seconds, seconds * 2, 30.0) for seconds in (0.1, 0.2, 0.9)]
    function = [cold_start.Started(seconds, seconds * 3, 40.0) for seconds in (0.3, 0.4, 0.5)]

    measurements = cold_start.measurements("pay-sale", bare, function)

    assert 300 == pytest.approx(measurements["cold_start_ms.pay-sale"])
    assert 3 == pytest.approx(measurements["cold_start_ratio.pay-sale"])
    assert 900 == pytest.approx(measurements["ready_ms.pay-sale"])
    assert 4.5 == pytest.approx(measurements["ready_ratio.pay-sale"])


def sample(at: int, memory: float, rows: int) -> soak.Sample:
    return soak.Sample(at * 600.0, at * 1000, {"order": memory}, {"order.outbox": rows}, {"order.outbox": rows * 100})


def test_what_stays_flat_is_not_named():
    steady = [sample(at, memory, at * 1000) for at, memory in enumerate([50, 60, 60, 60, 60])]

    assert [] == soak.growing(steady)
    assert {1.0} == {soak.growth(steady)[f"rows_an_order.order.outbox.{half}"] for half in ("first", "second")}


@pytest.mark.parametrize(
    ("pages", "named"), [(8, []), (9, ["bytes_an_order.auth.logins: 0.00 in the first half, 36.86 in the second"])]
)
def test_a_few_pages_more_are_no_growth(pages, named):
    sizes = [8192, 8192, 8192, 8192, 8192 * (1 + pages)]
    samples = [soak.Sample(at * 600.0, at * 1000, {}, {}, {"auth.logins": size}) for at, size in enumerate(sizes)]

    assert named == soak.growing(samples)


@pytest.mark.parametrize("when", range(4, 11))
def test_what_takes_one_step_does_not_grow(when):
    stepped = [sample(at, 60 if at < when else 90, at * 1000) for at in range(11)]

    assert [] == soak.growing(stepped)


def test_memory_and_tables_that_grow_are_named():
    leaking = [sample(at, 50 + 6 * at, at * at * 1000) for at in range(5)]

    assert 36.0 == pytest.approx(soak.slopes(leaking)["memory_mib_an_hour.order"])
    assert [
        "order grows: 36.0 MiB an hour in the second half",
        "rows_an_order.order.outbox: 2.00 in the first half, 6.00 in the second",
        "bytes_an_order.order.outbox: 200.00 in the first half, 600.00 in the second",
    ] == soak.growing(leaking)
