"""Book the SALE payment of an order whose money was taken. Undone by refund.py."""

from functions.shared.decisions import Decisions
from functions.shared.step import step
from schemas.events import BookingFood, ConfirmSale, PayStatus

BOOK = """
    INSERT INTO payments (order_id, type, username, amount)
    VALUES (:order_id, 'SALE', :username, :amount)
    ON CONFLICT (order_id, type) DO NOTHING
"""


@step
def confirm_sale(order: ConfirmSale, db: Decisions) -> BookingFood:
    """No money, no payment: then the order goes on as one that failed."""
    if order.pay_status is PayStatus.OK:
        db.row(BOOK, order_id=order.order_id, username=order.user_name, amount=order.amount)
    return BookingFood(**order.facts(), pay_status=order.pay_status)
