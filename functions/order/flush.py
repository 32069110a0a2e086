"""Flush the outbox: whatever a nudge could not send is sent from here."""

from functions.order import outbox
from functions.shared.cron import scheduled
from functions.shared.settings import BrokerSettings


@scheduled(BrokerSettings)
def flush() -> dict[str, int]:
    """Send what waits; safe beside any other flush, because rows that are in hand are skipped."""
    return {"sent": outbox.flush()}
