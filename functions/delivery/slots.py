"""Show how many couriers are free in each hour of a day."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.delivery import Slot, SlotQuery, Slots

FREE = """
    SELECT hour, (SELECT count(*) FROM couriers) - count(b.order_id) AS free
      FROM generate_series(0, 23) AS hours (hour)
      LEFT JOIN bookings b
             ON b.delivery_date = :day AND b.delivery_hour = hour AND b.status = 'Ok' AND b.canceled_at IS NULL
     GROUP BY hour
     ORDER BY hour
"""


@rest("POST", "/ui-api-service/api/v1/external/delivery/slots", caller="bearer", autocommit=True)
def slots(body: SlotQuery, db: Database) -> Slots:
    """Hours 0 to 23; what is free now may be taken by the time an order gets there."""
    free = [Slot(hour=row.hour, free=row.free) for row in db.rows(FREE, day=body.date)]
    return Slots(date=body.date, slots=free)
