"""Put an order's reserved dishes back. Undoes booking_food.py."""

from functions.shared.decisions import Decisions
from functions.shared.step import NotYet, step
from functions.store import locks
from schemas.events import CancelBookingFood, RefundPayment, StoreStatus

# Give back what was reserved, once. As by the reservation, dishes are locked in the order of their ids, and all of
# them before the order's own rows.
PUT_BACK = """
    WITH decided AS (
        SELECT status FROM reservations WHERE order_id = :order_id
    ), locked AS (
        SELECT d.id, b.count
          FROM reservations r JOIN bookings b USING (order_id) JOIN dishes d ON d.id = b.dish_id
         WHERE r.order_id = :order_id AND r.status = 'Ok' AND r.canceled_at IS NULL
         ORDER BY d.id
           FOR NO KEY UPDATE OF d
    ), undone AS (
        UPDATE reservations SET canceled_at = now()
         WHERE order_id = :order_id AND status = 'Ok' AND canceled_at IS NULL AND (SELECT count(*) FROM locked) > 0
        RETURNING order_id
    ), put_back AS (
        UPDATE dishes SET in_stock = in_stock + locked.count
          FROM locked, undone WHERE dishes.id = locked.id
    )
    SELECT status FROM decided
"""


@step
def cancel_booking_food(order: CancelBookingFood, db: Decisions) -> RefundPayment:
    """What was never reserved stays as it is."""
    reservation = db.row(PUT_BACK, locks.dishes(order.dishs), order_id=order.order_id)
    if order.store_status is StoreStatus.OK and reservation is None:
        # The event says that food was reserved: that is still on its way here and must not be overtaken.
        raise NotYet(f"order {order.order_id} has no reserved food here yet: store.bookingFood comes first")
    return RefundPayment(**order.everything())
