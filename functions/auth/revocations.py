"""Tell whose access tokens were revoked while they are not expired yet; whoever checks tokens asks now and then."""

from functions.auth.tokens import LifetimeSettings
from functions.shared.database import Database
from functions.shared.rest import rest
from functions.shared.settings import read
from schemas.auth import Revocations

# A minute more than a token lives: for clocks that differ, and for transactions that end late.
REVOKED = """
    SELECT username, token_version FROM users
     WHERE tokens_revoked_at > now() - make_interval(secs => CAST(:seconds AS double precision) + 60)
"""


@rest("POST", "/auth-service/api/v1/internal/revocations", caller="internal", autocommit=True)
def revocations(db: Database) -> Revocations:
    """The version that a token of each of these users has to have at least."""
    rows = db.rows(REVOKED, seconds=read(LifetimeSettings).auth_access_seconds)
    return Revocations(versions={row.username: row.token_version for row in rows})
