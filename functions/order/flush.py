"""Flush the outbox: send the events that their writers could not send."""

from functions.order import outbox
from functions.shared.cron import scheduled
from functions.shared.settings import BrokerSettings


@scheduled(BrokerSettings, outbox.OutboxSettings)
def flush() -> dict[str, int]:
    """Send what waits; safe beside any other flush, because rows that are locked are skipped."""
    return {"sent": outbox.flush()}
