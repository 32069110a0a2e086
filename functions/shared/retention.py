"""Deleting what nobody needs any more: batch after batch, each a short transaction, until nothing is left."""

import time

from functions.shared import database

BATCH = 500
LONGEST_RUN = 30.0  # seconds: the caller's patience ends somewhere, and the next run goes on


def purge(sql: str, **values: object) -> int:
    """Run `sql`, which deletes at most `:batch` rows and returns them, until one is not full; gives how many went.

    Raises database's Unavailable and Conflict; what was deleted before stays deleted.
    """
    began, gone, last = time.monotonic(), 0, BATCH
    while last == BATCH and time.monotonic() - began < LONGEST_RUN:
        with database.autocommit() as db:
            last = len(db.rows(sql, batch=BATCH, **values))
        gone += last
    return gone
