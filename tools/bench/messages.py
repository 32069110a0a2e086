"""How many messages went through the broker, by its triggers' own metrics."""

from collections import defaultdict
from contextlib import suppress

import urllib3
from prometheus_client.parser import text_string_to_metric_families

# Measurement: the process that counts it, and the name of its metric.
METRICS = {
    "messages.published_by_http": ("broker", "ingress_event_duration_seconds_count"),
    "messages.delivered": ("broker", "dispatcher_events_total"),
    "messages.calls_of_functions": ("broker", "dispatcher_call_duration_seconds_count"),
}

_pool = urllib3.PoolManager(retries=False, timeout=10)


def counts(scraped: dict[str, str]) -> dict[str, float | None]:
    """The counts of this moment; None for one that no process has."""
    samples = {process: _samples(scraped[process]) for process, _ in METRICS.values() if process in scraped}
    return {measurement: samples.get(process, {}).get(metric) for measurement, (process, metric) in METRICS.items()}


def _samples(url: str) -> dict[str, float]:
    """The sum of every metric over its labels."""
    sums: dict[str, float] = defaultdict(float)
    with suppress(urllib3.exceptions.HTTPError):
        text = _pool.request("GET", url).data.decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] += sample.value
    return dict(sums)


def measurements(
    before: dict[str, float | None], after: dict[str, float | None], orders: int
) -> dict[str, float | None]:
    """What an order took."""
    return {
        name: None if before[name] is None or after[name] is None else (after[name] - before[name]) / orders
        for name in METRICS
    }
