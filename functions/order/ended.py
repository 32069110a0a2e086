"""How orders ended, counted as they end. Not in a function's file: the framework loads that one once more."""

from functions.shared.telemetry.metrics import Counter

ENDED = Counter("orders_ended", "Orders that ended, by status and the reason that the client reads",
                ["status", "reason"])  # fmt: skip


def count(status: str, reason: str) -> None:
    """One more; the reasons are the few texts of the result."""
    ENDED.labels(status, reason).inc()
