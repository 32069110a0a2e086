"""Delete what nobody needs of orders that ended long ago: everybody's inbox rows, never those of an open order.

What was done stays guarded by natural keys: one payment per order and type, one booking per order, one mail.
"""

from pydantic import Field

from functions.shared import database
from functions.shared.call import call
from functions.shared.cron import scheduled
from functions.shared.forget import Subjects, forget_all
from functions.shared.settings import CallSettings, Settings, read

FORGETFUL = ("pay-forget", "billing-forget", "store-forget", "delivery-forget", "notification-forget")

OLD = """
    SELECT order_id FROM orders
     WHERE purged_at IS NULL AND notified_at IS NOT NULL
       AND ended_at < now() - make_interval(days => CAST(:days AS integer))
     ORDER BY ended_at LIMIT 500 FOR UPDATE SKIP LOCKED
"""

PURGED = "UPDATE orders SET purged_at = now() WHERE order_id = ANY(CAST(:order_ids AS text[]))"


class PurgeSettings(Settings):
    """How long handled events are remembered."""

    retention_days: int = Field(default=30, ge=1, description="days after an order's end")


@scheduled(CallSettings, PurgeSettings)
def purge() -> dict[str, int]:
    """One batch; an owner that cannot be reached leaves the batch for the next run, forgetting twice is harmless."""
    with database.transaction() as db:
        order_ids = [row.order_id for row in db.rows(OLD, days=read(PurgeSettings).retention_days)]
        if order_ids:
            for function in FORGETFUL:
                call(function, order_ids)
            forget_all(Subjects(order_ids), db)
            db.rows(PURGED, order_ids=order_ids)
    return {"orders": len(order_ids)}
