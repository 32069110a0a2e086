"""Reserve a free courier for an order's day and hour, or release what was reserved and start the compensation."""

from functions.shared.decisions import Decisions, Locks
from functions.shared.step import step
from schemas.events import BookingCourier, CancelBookingFood, DeliveryStatus, Result

# Decide once: an order that was decided before keeps its answer. Two orders may reach for the same courier at the
# same time: the unique index lets one of them in, the other gets a conflict, tries again and finds the next courier.
BOOK = """
    WITH decided AS (
        SELECT status FROM bookings WHERE order_id = :order_id
    ), free AS (
        SELECT c.id
          FROM couriers c
         WHERE NOT EXISTS (
                   SELECT FROM bookings b
                    WHERE b.courier_id = c.id AND b.delivery_date = :day AND b.delivery_hour = :hour
                      AND b.canceled_at IS NULL)
         ORDER BY c.id
         LIMIT 1
    ), booked AS (
        INSERT INTO bookings (order_id, delivery_date, delivery_hour, courier_id, status)
        SELECT :order_id, :day, :hour, (SELECT id FROM free),
               CASE WHEN EXISTS (SELECT FROM free) THEN 'Ok'
                    WHEN EXISTS (SELECT FROM couriers) THEN 'AllBusy'
                    ELSE 'NoCouriers' END
         WHERE NOT EXISTS (SELECT FROM decided)
        RETURNING status
    )
    SELECT status FROM decided UNION ALL SELECT status FROM booked
"""

# Couriers of an hour have no row to lock: two batches that fill the same hours go one after the other.
HOURS = """
    SELECT pg_advisory_xact_lock(day_and_hour / 24, day_and_hour % 24)
      FROM (SELECT day_and_hour FROM unnest(CAST(:keys AS integer[])) AS k (day_and_hour) ORDER BY 1) AS hours
"""

RELEASE = """
    UPDATE bookings SET canceled_at = now()
     WHERE order_id = :order_id AND status = 'Ok' AND canceled_at IS NULL
"""


@step
def booking_courier(order: BookingCourier, db: Decisions) -> Result | CancelBookingFood:
    """The last step forward: all Ok ends the order, anything else starts the compensation with nothing booked."""
    status = DeliveryStatus.SKIPPED
    if order.is_ok:
        status = book(order, db)
    else:
        db.row(RELEASE, hour_of(order), order_id=order.order_id)
    goes_on = Result if status is DeliveryStatus.OK else CancelBookingFood
    return goes_on(**order.facts(), **order.statuses(), delivery_status=status)


def hour_of(order: BookingCourier) -> Locks:
    """The hour that orders of the same day and hour share."""
    return Locks(HOURS, [order.delivery_date.toordinal() * 24 + order.delivery_hour])


def book(order: BookingCourier, db: Decisions) -> DeliveryStatus:
    """Delivery's decision about an order."""
    booking = db.row(BOOK, hour_of(order), order_id=order.order_id, day=order.delivery_date, hour=order.delivery_hour)
    return DeliveryStatus(booking.status)
