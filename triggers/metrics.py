"""The metrics of the triggers, and a small HTTP server for processes that have no other port for them."""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from prometheus_client import REGISTRY, start_http_server
from prometheus_client.metrics_core import Metric
from pydantic import Field

from functions.shared.settings import Settings
from functions.shared.telemetry.exposition import family, registry
from functions.shared.telemetry.metrics import Counter, Declared, Found, Gauge, Histogram
from triggers.command import check_port
from triggers.stack import load

Numbers = Callable[[], dict[str, int]]

# From an event's time to its handling: seconds when all is well, minutes after an outage.
LAGS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

GATEWAY = Histogram("gateway_request_duration_seconds", "Requests from outside", ["function", "outcome"])
RELAY = Histogram("relay_request_duration_seconds", "Events and runs passed on", ["function", "outcome"])
INGRESS = Histogram("ingress_event_duration_seconds", "Events that came to the broker", ["type", "outcome"])
CALLS = Histogram("dispatcher_call_duration_seconds", "Delivery attempts", ["function", "outcome"])
DELIVERED = Counter("dispatcher_events", "Events by what came of a delivery", ["function", "outcome"])
LAG = Histogram("dispatcher_event_lag_seconds", "From an event's time to its handling", ["function"], buckets=LAGS)
RUNS = Counter("cron_runs", "Runs of scheduled functions", ["function", "outcome"])
LAST_RUN = Gauge("cron_last_success_timestamp_seconds", "When a scheduled function last did its work", ["function"])


class MetricsSettings(Settings):
    """Where a process serves its metrics, when its only port, if it has one, is public."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="port of GET /_/metrics; none if not set"
    )


def check_metrics_port(settings: MetricsSettings) -> None:
    """End the process with one line if somebody listens there already."""
    if settings.metrics_port:
        check_port(settings.host, settings.metrics_port, "METRICS_PORT")


def serve_metrics(settings: MetricsSettings) -> None:
    """Serve this process's metrics in a thread, if METRICS_PORT is set; called in the serving process."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.host, registry())


def start_at_zero(functions: Iterable[str], outcomes: Iterable[str], counter: Declared) -> None:
    """Start every counter at zero: the first increase would not be seen otherwise."""
    outcomes = tuple(outcomes)
    for function in functions:
        for outcome in outcomes:
            counter.labels(function, outcome)


def known_type(type: str | None) -> str:
    """An event's type, if it is one of ours: anybody may send any other, and each would be a series."""
    return type if type in _types() else "other"


@cache
def _types() -> set[str]:
    return {function.event_type for function in load() if function.event_type}


def lag_of(time: str | None) -> float | None:
    """Seconds since an event's `time`; None when that cannot be read."""
    try:
        then = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return max(0.0, (datetime.now(UTC) - then).total_seconds()) if then.tzinfo else None


class Queues:
    """The depth of the broker's queues, asked for whenever the metrics are."""

    def __init__(self, connected: Callable[[], bool], depths: Numbers, in_flight: Numbers):
        self._connected, self._depths, self._in_flight = connected, depths, in_flight
        self._asking = threading.Lock()
        REGISTRY.register(self)

    def describe(self) -> list[Metric]:
        """Nothing: nobody is to be asked at the registration."""
        return []

    def collect(self) -> list[Metric]:
        """As it is now."""
        with self._asking:
            depths = self._depths()
        found = (
            Found("dispatcher_connected", "Whether RabbitMQ is there (1) or not (0)", float(self._connected())),
            Found("broker_queue_messages", "Messages that wait in a queue", _labelled(depths), ("queue",)),
            Found("dispatcher_events_in_flight", "Events taken off a queue that wait for a call",
                   _labelled(self._in_flight()), ("function",)),
        )  # fmt: skip
        return [family(each) for each in found]


def _labelled(numbers: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {(name,): number for name, number in numbers.items()}
