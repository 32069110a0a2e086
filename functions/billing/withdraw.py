"""Take an order's money from its client's balance, or say why not. Undone by refund.py."""

from functions.billing import locks
from functions.shared.decisions import Decisions
from functions.shared.step import step
from schemas.events import ConfirmSale, Withdraw

# Charge an order once: one that was decided before, even refused, keeps its answer.
CHARGE = """
    WITH decided AS (
        SELECT status FROM charges WHERE order_id = :order_id
    ), taken AS (
        UPDATE clients SET balance = balance - :amount
         WHERE username = :username AND balance >= :amount AND NOT EXISTS (SELECT FROM decided)
        RETURNING username
    ), charged AS (
        INSERT INTO charges (order_id, username, amount, status)
        SELECT :order_id, :username, :amount,
               CASE WHEN EXISTS (SELECT FROM taken) THEN 'Ok'
                    WHEN EXISTS (SELECT FROM clients WHERE username = :username) THEN 'NotEnoughMoney'
                    ELSE 'ClientNotFound' END
         WHERE NOT EXISTS (SELECT FROM decided)
        RETURNING status
    ), moved AS (
        INSERT INTO movements (username, kind, amount, order_id)
        SELECT username, 'sale', :amount, :order_id FROM taken
    )
    SELECT status FROM decided UNION ALL SELECT status FROM charged
"""


@step
def withdraw(order: Withdraw, db: Decisions) -> ConfirmSale:
    """Charge the client, and reply to pay with the outcome."""
    client = locks.client(order.user_name)
    charge = db.row(CHARGE, client, order_id=order.order_id, username=order.user_name, amount=order.amount)
    return ConfirmSale(**order.facts(), pay_status=charge.status)
