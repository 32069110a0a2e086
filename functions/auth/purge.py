"""Delete the logins that ended long ago, and attempts that count no more."""

from functions.shared import retention
from functions.shared.cron import scheduled

FORGET = """
    WITH old AS MATERIALIZED (
        SELECT id FROM logins WHERE expires_at < now() - interval '1 day'
         ORDER BY expires_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    DELETE FROM logins WHERE id IN (SELECT id FROM old) RETURNING id
"""

FORGET_ATTEMPTS = """
    WITH old AS MATERIALIZED (
        SELECT subject FROM login_attempts WHERE since < now() - interval '1 day'
         ORDER BY since LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    DELETE FROM login_attempts WHERE subject IN (SELECT subject FROM old) RETURNING subject
"""


@scheduled()
def purge() -> dict[str, int]:
    """A day after its last refresh token ran out, a login is of no use to anybody."""
    return {"logins": retention.purge(FORGET), "attempts": retention.purge(FORGET_ATTEMPTS)}
