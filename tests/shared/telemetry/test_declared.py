"""Metrics are declared at once and made when they are used or read."""

import contextlib
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from functions.shared.telemetry import exposition
from functions.shared.telemetry.metrics import DECLARED, Counter, Declared
from tests.metrics import Metrics

NUMBERS = count()


@pytest.fixture(autouse=True)
def _none_stays() -> Iterator[None]:
    before = [*DECLARED]
    yield
    DECLARED[:] = before


@pytest.fixture
def counter() -> Declared:
    """One of its own name."""
    return Counter(f"tested_{next(NUMBERS)}", "Something that is counted", ["outcome"])


def test_a_child_is_there_with_zero_before_anything_is_counted(counter):
    child = counter.child("done")

    metrics = Metrics(exposition.text().decode())

    assert [0] == metrics.of(f"{child.made()._name}_total", outcome="done")


def test_a_child_counts_from_its_first_use(counter):
    child = counter.child("done")

    child.inc()
    child.inc(2)
    counter.labels("done").inc()

    assert [4] == Metrics(exposition.text().decode()).of(f"{counter.made()._name}_total", outcome="done")


def test_threads_that_use_it_first_at_once_use_the_same():
    makers, together = threading.Barrier(2), threading.Barrier(2)
    made, seen = [], []

    def make() -> object:
        made.append(object())
        # Were another one here as well, they would meet.
        with contextlib.suppress(threading.BrokenBarrierError):
            makers.wait(0.1)
        return made[-1]

    declared = Declared(make)

    def use() -> None:
        together.wait()
        seen.append(declared.made())

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(made) and [made[0]] * 2 == seen
