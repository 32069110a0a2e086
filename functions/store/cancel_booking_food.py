"""Put an order's reserved dishes back. Undoes booking_food.py."""

from functions.shared.database import Database
from functions.shared.step import NotYet, step
from schemas.events import CancelBookingFood, RefundPayment, StoreStatus

PUT_BACK = """
    WITH undone AS (
        UPDATE reservations SET canceled_at = now()
         WHERE order_id = :order_id AND status = 'Ok' AND canceled_at IS NULL
        RETURNING order_id
    ), locked AS (
        SELECT d.id, b.count
          FROM undone JOIN bookings b USING (order_id) JOIN dishes d ON d.id = b.dish_id
         ORDER BY d.id
           FOR UPDATE OF d
    )
    UPDATE dishes SET in_stock = in_stock + locked.count FROM locked WHERE dishes.id = locked.id
"""

DECIDED = "SELECT status FROM reservations WHERE order_id = :order_id"


@step
def cancel_booking_food(order: CancelBookingFood, db: Database) -> RefundPayment:
    """Give back what was reserved, once; what was never reserved stays as it is."""
    if order.store_status is StoreStatus.OK and not db.row(DECIDED, order_id=order.order_id):
        # The event says that food was reserved: that is still on its way here and must not be overtaken.
        raise NotYet(f"order {order.order_id} has no reserved food here yet: store.bookingFood comes first")
    db.rows(PUT_BACK, order_id=order.order_id)
    return RefundPayment(**order.everything())
