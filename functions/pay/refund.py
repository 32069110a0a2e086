"""Book the REFUND payment of an order that failed. Undoes confirm_sale.py."""

from functions.shared.decisions import Decisions
from functions.shared.step import NotYet, step
from schemas.events import PayStatus, RefundBalance, RefundPayment, Result

# Undo the SALE that there is, once.
UNDO = """
    WITH sale AS (
        SELECT username, amount, currency FROM payments WHERE order_id = :order_id AND type = 'SALE'
    ), undone AS (
        INSERT INTO payments (order_id, type, username, amount, currency)
        SELECT :order_id, 'REFUND', username, amount, currency FROM sale
        ON CONFLICT (order_id, type) DO NOTHING
    )
    SELECT amount FROM sale
"""


@step
def refund(order: RefundPayment, db: Decisions) -> RefundBalance | Result:
    """Refund the SALE that there is; where none was made there is nothing to give back."""
    if db.row(UNDO, order_id=order.order_id):
        return RefundBalance(**order.everything())
    if order.pay_status is PayStatus.OK:
        # The event says that a sale was made: it is still on its way here and must not be overtaken.
        raise NotYet(f"order {order.order_id} has no SALE payment here yet: pay.confirmSale comes first")
    return Result(**order.everything())
