"""Book the REFUND payment of an order that failed. Undoes confirm_sale.py."""

from functions.shared.database import Database
from functions.shared.step import NotYet, step
from schemas.events import PayStatus, RefundBalance, RefundPayment, Result

UNDO = """
    INSERT INTO payments (order_id, type, username, amount, currency)
    SELECT order_id, 'REFUND', username, amount, currency
      FROM payments WHERE order_id = :order_id AND type = 'SALE'
    ON CONFLICT (order_id, type) DO NOTHING
"""

UNDONE = "SELECT type FROM payments WHERE order_id = :order_id AND type = 'REFUND'"


@step
def refund(order: RefundPayment, db: Database) -> RefundBalance | Result:
    """Refund the SALE that there is; where none was made there is nothing to give back."""
    db.rows(UNDO, order_id=order.order_id)
    if db.row(UNDONE, order_id=order.order_id):
        return RefundBalance(**order.everything())
    if order.pay_status is PayStatus.OK:
        # The event says that a sale was made: it is still on its way here and must not be overtaken.
        raise NotYet(f"order {order.order_id} has no SALE payment here yet: pay.confirmSale comes first")
    return Result(**order.everything())
