"""Where functions answer, for every process that posts to them."""

import urllib3

from functions.shared import connections
from functions.shared.call import address
from functions.shared.settings import CallSettings

__all__ = ["CallSettings", "address", "pool"]


def pool(read_seconds: float, size: int) -> urllib3.PoolManager:
    """Connections that are kept: a new one for each event would cost more than the event. Nothing is retried here."""
    timeout = urllib3.Timeout(connect=2, read=read_seconds)
    return connections.pool(timeout, num_pools=100, maxsize=size)
