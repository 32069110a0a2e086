"""What a process has done and what it uses, as Prometheus reads it: `GET /_/metrics` of every process.

One worker keeps its metrics in memory. Of several (WORKERS) each keeps its own in files, and whichever is asked adds
up all of them; what the processes themselves use is then listed for each by its `pid`.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from pydantic import Field

from functions.shared.answers import Answer
from functions.shared.settings import Settings, read

__all__ = [
    "TEXT",
    "Counter",
    "Gauge",
    "Histogram",
    "answer",
    "forget_worker",
    "gauge",
    "omit_creation_times",
    "outcome_of",
    "share",
    "text_of",
]

PATH = "/_/metrics"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class WorkerSettings(Settings):
    """How many processes serve, and where they meet to add up their metrics."""

    workers: int = Field(default=1, ge=1, description="processes that serve a function")
    prometheus_multiproc_dir: Path | None = Field(
        default=None, description="directory for several workers' metrics; a new one under TMPDIR if not set"
    )


def omit_creation_times() -> None:
    """Export no `_created` series: nobody reads them, and each metric would have one more.

    For the start of a server: it changes the library for the whole process.
    """
    disable_created_metrics()


def share() -> None:
    """Let the workers' metrics meet in a directory, if there will be several workers.

    For the start of a server, before it loads what counts.
    """
    omit_creation_times()
    settings = read(WorkerSettings)
    if settings.prometheus_multiproc_dir:
        settings.prometheus_multiproc_dir.mkdir(parents=True, exist_ok=True)
    elif settings.workers > 1:
        # Made before the workers are forked, so that they all inherit its name.
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="metrics-")
        atexit.register(_remove, os.environ[VARIABLE], os.getpid())
    # The library has looked at the variable when it was imported, and is made to look again.
    values.ValueClass = values.get_value_class()


def _remove(directory: str, maker: int) -> None:
    # A worker inherits what its parent does at its end, and must leave the others their files.
    if os.getpid() == maker:
        shutil.rmtree(directory, ignore_errors=True)


def outcome_of(status: int) -> str:
    """A word for a status: few of them, so that every function has few series."""
    if status < 400:
        return "ok"
    if status < 500:
        return "refused"
    return "not_now" if status == 503 else "failed"


def answer() -> Answer:
    """All metrics of this process, those of its fellow workers included."""
    return generate_latest(_registry()), 200, {"Content-Type": TEXT}


def _registry() -> CollectorRegistry:
    directory = os.environ.get(VARIABLE)
    if not directory:
        return REGISTRY
    _forget_dead_workers(Path(directory))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)
    registry.register(_Processes())
    return registry


class _Processes:
    """CPU, memory, files and start of every process here; each by its `pid`, for a sum would fall when one ends."""

    def collect(self) -> Iterable[Metric]:
        """The library's own metrics, of each process in turn."""
        families: dict[str, Metric] = {}
        for pid in _family():
            with contextlib.suppress(OSError):
                for measured in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
                    name = measured.name
                    family = families.setdefault(name, Metric(name, measured.documentation, measured.type))
                    for sample in measured.samples:
                        family.add_sample(sample.name, {"pid": pid}, sample.value)
        return families.values()


def _family() -> list[str]:
    """The ids of the workers' parent and of all its children."""
    parent = os.getppid()
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return [str(os.getpid())]
    return [str(parent), *children]


def _forget_dead_workers(directory: Path) -> None:
    """What a dead worker has counted stays; what it was doing does not."""
    for pid in {path.stem.rpartition("_")[2] for path in directory.glob("gauge_live*.db")}:
        if not Path(f"/proc/{pid}").exists():
            forget_worker(int(pid))


def forget_worker(pid: int) -> None:
    """Let go of what a worker that has ended was doing."""
    if VARIABLE in os.environ:
        mark_process_dead(pid)


def gauge(
    name: str, meaning: str, found: dict[tuple[str, ...], float] | float, labels: tuple[str, ...] = ()
) -> Metric:
    """One metric that was just looked up: a number, or numbers by the values of `labels`."""
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values_of_labels, number in (found if isinstance(found, dict) else {(): found}).items():
        family.add_metric(values_of_labels, number)
    return family


def text_of(*found: Metric) -> bytes:
    """The text of metrics that were just looked up, and of nothing else."""
    registry = CollectorRegistry()
    registry.register(_Found(found))
    return generate_latest(registry)


class _Found:
    def __init__(self, families: tuple[Metric, ...]):
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """What was found."""
        return iter(self._families)
