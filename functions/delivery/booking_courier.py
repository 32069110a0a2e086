"""Reserve a free courier for an order's day and hour, or release what was reserved and start the way back."""

from functions.shared.database import Database
from functions.shared.step import step
from schemas.events import BookingCourier, CancelBookingFood, DeliveryStatus, PayStatus, Result, StoreStatus

DECIDED = "SELECT status FROM bookings WHERE order_id = :order_id"

STAFF = "SELECT count(*) AS couriers FROM couriers"

# Two orders may reach for the same courier at the same time: the unique index lets one of them in, the other
# gets no row and reaches again, for the next one.
BOOK = """
    INSERT INTO bookings (order_id, delivery_date, delivery_hour, courier_id, status)
    SELECT :order_id, :day, :hour, c.id, 'Ok'
      FROM couriers c
     WHERE NOT EXISTS (
               SELECT FROM bookings b
                WHERE b.courier_id = c.id AND b.delivery_date = :day AND b.delivery_hour = :hour
                  AND b.canceled_at IS NULL)
     ORDER BY c.id
     LIMIT 1
    ON CONFLICT DO NOTHING
    RETURNING status
"""

REFUSE = """
    INSERT INTO bookings (order_id, delivery_date, delivery_hour, status)
    VALUES (:order_id, :day, :hour, :status)
    RETURNING status
"""

RELEASE = """
    UPDATE bookings SET canceled_at = now()
     WHERE order_id = :order_id AND status = 'Ok' AND canceled_at IS NULL
"""


@step
def booking_courier(order: BookingCourier, db: Database) -> Result | CancelBookingFood:
    """The last step forward: all three Ok ends the order, anything else turns it round with nothing booked."""
    status = DeliveryStatus.SKIPPED
    if order.pay_status is PayStatus.OK and order.store_status is StoreStatus.OK:
        status = book(order, db)
    if status is DeliveryStatus.OK:
        return Result(**_spoken(order, status))
    db.rows(RELEASE, order_id=order.order_id)
    return CancelBookingFood(**_spoken(order, status))


def book(order: BookingCourier, db: Database) -> DeliveryStatus:
    """Decide once; an order that was decided before keeps its answer."""
    if decision := db.row(DECIDED, order_id=order.order_id):
        return DeliveryStatus(decision.status)
    slot = {"order_id": order.order_id, "day": order.delivery_date, "hour": order.delivery_hour}
    couriers = db.row(STAFF).couriers
    booked = next(filter(None, (db.row(BOOK, **slot) for _ in range(couriers))), None)
    refusal = DeliveryStatus.ALL_BUSY if couriers else DeliveryStatus.NO_COURIERS
    return DeliveryStatus((booked or db.row(REFUSE, **slot, status=refusal)).status)


def _spoken(order: BookingCourier, status: DeliveryStatus) -> dict:
    said = {"pay_status": order.pay_status, "store_status": order.store_status, "delivery_status": status}
    return order.facts() | said
