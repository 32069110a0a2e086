"""What a process has done and what it uses, as Prometheus reads it: `GET /_/metrics` of every process.

Metrics are declared here without the library, which loads servers and clients of HTTP: a tenth of a cold start. It
makes them when they are first used, or all of them when they are first read; see exposition.py.
"""

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from functions.shared import later
from functions.shared.answers import Answer
from functions.shared.settings import Settings, read

PATH = "/_/metrics"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

later.load("functions.shared.telemetry.exposition")


class WorkerSettings(Settings):
    """How many processes serve, and where they meet to add up their metrics."""

    workers: int = Field(default=1, ge=1, description="processes that serve a function")
    prometheus_multiproc_dir: Path | None = Field(
        default=None, description="directory for several workers' metrics; a new one under TMPDIR if not set"
    )


class Declared:
    """A metric, or one of its children, that the library makes when it is first used.

    It has what the library's own has: `labels`, `inc`, `observe`, `set`.
    """

    def __init__(self, make: Callable[[], Any]):
        self._make, self._made = make, None
        DECLARED.append(self)

    def made(self) -> Any:
        """The library's own."""
        # Two of one name would be an error.
        with _ONE_AT_A_TIME:
            if self._made is None:
                self._made = self._make()
            return self._made

    def child(self, *values: str) -> "Declared":
        """What `labels` gives, not made yet."""
        return Declared(lambda: self.labels(*values))

    def __getattr__(self, name: str) -> Any:
        """Looked up once: from then on it is found before anything is asked here."""
        value = getattr(self.made(), name)
        setattr(self, name, value)
        return value


DECLARED: list[Declared] = []
_ONE_AT_A_TIME = threading.RLock()


def _declare(kind: str, *what: Any, **options: Any) -> Declared:
    def make() -> Any:
        from functions.shared.telemetry import exposition

        return exposition.make(kind, *what, **options)

    return Declared(make)


Counter, Gauge, Histogram = (partial(_declare, kind) for kind in ("Counter", "Gauge", "Histogram"))


class Found(NamedTuple):
    """A gauge that was just looked up: a number, or numbers by the values of `labels`."""

    name: str
    meaning: str
    numbers: dict[tuple[str, ...], float] | float
    labels: tuple[str, ...] = ()


def share() -> None:
    """Let the workers' metrics meet in a directory, if there will be several workers.

    For the start of a server, before anything is counted.
    """
    settings = read(WorkerSettings)
    if settings.prometheus_multiproc_dir:
        settings.prometheus_multiproc_dir.mkdir(parents=True, exist_ok=True)
    elif settings.workers > 1:
        # Made before the workers are forked, so that they all inherit its name.
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="metrics-")
        atexit.register(_remove, os.environ[VARIABLE], os.getpid())


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
    from functions.shared.telemetry import exposition

    return exposition.text(), 200, {"Content-Type": TEXT}


def text_of(*found: Found) -> bytes:
    """The text of metrics that were just looked up, and of nothing else."""
    from functions.shared.telemetry import exposition

    return exposition.text_of(found)
