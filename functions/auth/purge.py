"""Delete the logins that ended long ago."""

from functions.shared.cron import scheduled
from functions.shared.database import transaction

BATCH = 500

FORGET = """
    DELETE FROM logins
     WHERE id IN (SELECT id FROM logins WHERE expires_at < now() - interval '1 day'
                   ORDER BY expires_at LIMIT :batch FOR UPDATE SKIP LOCKED)
    RETURNING id
"""


@scheduled()
def purge() -> dict[str, int]:
    """A day after its last refresh token ran out, a login is of no use to anybody."""
    forgotten = last = _forget()
    while last == BATCH:
        last = _forget()
        forgotten += last
    return {"logins": forgotten}


def _forget() -> int:
    with transaction() as db:
        return len(db.rows(FORGET, batch=BATCH))
