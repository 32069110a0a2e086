"""Several workers are one in their metrics."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics import metrics_of
from tests.processes import child, end, start
from tests.system import OURS, Http, eventually
from tools.local.processes import free_port

pytestmark = pytest.mark.usefixtures("audited")


class Workers:
    """The functions of `pay` in two worker processes, without a database."""

    def __init__(self, directory: Path):
        self.shared, port = directory / "metrics", free_port()
        self.http = Http(f"http://127.0.0.1:{port}", OURS)
        command = [sys.executable, "-m", "triggers.serve_owner"]
        exported = {
            "OWNER": "pay",
            "PORT": str(port),
            "THREADS": "1",
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


def test_every_process_exports_what_it_uses_by_its_id(workers):
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
