"""Connections to other processes that are kept, but not for long.

A function's server closes a connection after two idle seconds. A call that is on its way in that very moment is lost,
and nobody can tell whether it was heard: so one that was idle for half that time is not used again.
"""

import time
from typing import Any

import urllib3

LONGEST_IDLE = 1.0


class _NotForLong:
    """What a urllib3 pool has to know besides: since when each connection is idle."""

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)

    def _get_conn(self, timeout: float | None = None) -> Any:
        conn = super()._get_conn(timeout)
        if time.monotonic() - getattr(conn, "idle_since", time.monotonic()) > LONGEST_IDLE:
            conn.close()  # the next request opens it again
        return conn


class _Http(_NotForLong, urllib3.HTTPConnectionPool):
    pass


class _Https(_NotForLong, urllib3.HTTPSConnectionPool):
    pass


def pool(timeout: urllib3.Timeout, **sizes: int) -> urllib3.PoolManager:
    """A pool for calls that change something: nothing is retried here, whoever calls knows whether that is safe."""
    made = urllib3.PoolManager(retries=False, timeout=timeout, **sizes)
    made.pool_classes_by_scheme = {"http": _Http, "https": _Https}
    return made
