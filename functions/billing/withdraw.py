"""Take an order's money from its client's balance, or say why not. Undone by refund.py."""

from functions.shared.database import Database
from functions.shared.step import step
from schemas.events import ConfirmSale, Withdraw

DECIDED = "SELECT status FROM charges WHERE order_id = :order_id"

TAKE = """
    WITH taken AS (
        UPDATE clients SET balance = balance - :amount
         WHERE username = :username AND balance >= :amount
        RETURNING username
    ), charged AS (
        INSERT INTO charges (order_id, username, amount, status)
        SELECT :order_id, :username, :amount,
               CASE WHEN EXISTS (SELECT FROM taken) THEN 'Ok'
                    WHEN EXISTS (SELECT FROM clients WHERE username = :username) THEN 'NotEnoughMoney'
                    ELSE 'ClientNotFound' END
        RETURNING status
    ), moved AS (
        INSERT INTO movements (username, kind, amount, order_id)
        SELECT username, 'sale', :amount, :order_id FROM taken
    )
    SELECT status FROM charged
"""


@step
def withdraw(order: Withdraw, db: Database) -> ConfirmSale:
    """Charge an order once; an order that was decided before, even refused, keeps its answer."""
    decision = db.row(DECIDED, order_id=order.order_id) or db.row(
        TAKE, order_id=order.order_id, username=order.user_name, amount=order.amount
    )
    return ConfirmSale(**order.facts(), pay_status=decision.status)
