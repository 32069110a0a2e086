"""Delete the idempotency keys that are old: then nobody asks again any more."""

from pydantic import Field

from functions.shared import retention
from functions.shared.cron import scheduled
from functions.shared.settings import Settings, read

FORGET = """
    WITH old AS MATERIALIZED (
        SELECT caller, key FROM idempotency_keys
         WHERE kept_at < now() - make_interval(secs => CAST(:hours AS double precision) * 3600)
         ORDER BY kept_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    DELETE FROM idempotency_keys WHERE (caller, key) IN (SELECT caller, key FROM old) RETURNING key
"""


class KeptKeysSettings(Settings):
    """For how long a request may be sent again."""

    idempotency_key_hours: float = Field(
        default=24, gt=0, allow_inf_nan=False, description="hours for which the answer to an Idempotency-Key is kept"
    )


@scheduled(KeptKeysSettings)
def purge() -> dict[str, int]:
    """From then on the same key is a new request."""
    return {"keys": retention.purge(FORGET, hours=read(KeptKeysSettings).idempotency_key_hours)}
