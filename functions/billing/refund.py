"""Give an order's money back to its client's balance. Undoes withdraw.py."""

from functions.billing import locks
from functions.shared.decisions import Decisions
from functions.shared.step import NotYet, Unacceptable, step
from schemas.events import RefundBalance, Result

# Give back what was taken, once. The client is locked before the charge, as by the withdrawal.
GIVE_BACK = """
    WITH charge AS (
        SELECT status FROM charges WHERE order_id = :order_id
    ), client AS (
        SELECT c.username FROM charges JOIN clients c USING (username)
         WHERE order_id = :order_id AND status = 'Ok' AND refunded_at IS NULL
           FOR NO KEY UPDATE OF c
    ), undone AS (
        UPDATE charges SET refunded_at = now()
          FROM client
         WHERE order_id = :order_id AND status = 'Ok' AND refunded_at IS NULL
        RETURNING client.username, amount
    ), moved AS (
        INSERT INTO movements (username, kind, amount, order_id)
        SELECT username, 'refund', amount, :order_id FROM undone
    ), given_back AS (
        UPDATE clients SET balance = balance + undone.amount
          FROM undone
         WHERE clients.username = undone.username
    )
    SELECT status FROM charge
"""


@step
def refund(order: RefundBalance, db: Decisions) -> Result:
    """Money that was never taken is never given back."""
    charge = db.row(GIVE_BACK, locks.client(order.user_name), order_id=order.order_id)
    if charge is None:
        raise NotYet(f"no money was taken for order {order.order_id} yet: billing.withdraw comes first")
    if charge.status != "Ok":
        raise Unacceptable(f"no money was taken for order {order.order_id} ({charge.status}): none to give back")
    return Result(**order.everything())
