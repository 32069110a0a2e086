"""Metrics made and read with Prometheus' own library.

One worker keeps its metrics in memory. Of several (WORKERS) each keeps its own in files, and whichever is asked adds
up all of them; what the processes themselves use is then listed for each by its `pid`.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector, generate_latest, values
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from functions.shared.telemetry.metrics import DECLARED, VARIABLE, Found


def make(kind: str, *what: Any, **options: Any) -> Any:
    """One of the library's metrics: `Counter`, `Gauge` or `Histogram`."""
    _set_up()
    return getattr(prometheus_client, kind)(*what, **options)


@cache
def _set_up() -> None:
    """Before the first metric: what the library keeps for the whole process."""
    # Nobody reads `_created` series, and each metric would have one more.
    prometheus_client.disable_created_metrics()
    # It looked for the workers' directory when it was imported, which may have been in a process before this one.
    values.ValueClass = values.get_value_class()


def text() -> bytes:
    """All metrics of this process and of its fellow workers."""
    return generate_latest(registry())


def registry() -> CollectorRegistry:
    """All metrics that are declared, from the first reading on."""
    for declared in [*DECLARED]:
        declared.made()
    directory = os.environ.get(VARIABLE)
    if not directory:
        return REGISTRY
    _forget_dead_workers(Path(directory))
    shared = CollectorRegistry()
    MultiProcessCollector(shared, directory)
    shared.register(_Processes())
    return shared


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
            mark_process_dead(int(pid))


def text_of(found: Iterable[Found]) -> bytes:
    """The text of metrics that were just looked up, and of nothing else."""
    apart = CollectorRegistry()
    apart.register(_Families([family(one) for one in found]))
    return generate_latest(apart)


def family(found: Found) -> Metric:
    """What was just looked up as the library has it."""
    metric = GaugeMetricFamily(found.name, found.meaning, labels=found.labels)
    numbers = found.numbers if isinstance(found.numbers, dict) else {(): found.numbers}
    for values_of_labels, number in numbers.items():
        metric.add_metric(values_of_labels, number)
    return metric


class _Families:
    def __init__(self, families: list[Metric]):
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """What was found."""
        return iter(self._families)
