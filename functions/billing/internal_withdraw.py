"""Take money off any client's balance: the internal endpoint; balance_withdraw.py is the public one."""

from functions.billing.idempotency import INTERNAL, Moved, Once
from functions.shared.database import Database
from functions.shared.idempotency import IdempotencyKey
from functions.shared.rest import rest
from schemas.answers import Simple
from schemas.billing import BalanceChange

WITHDRAW = """
    WITH taken AS (
        UPDATE clients SET balance = balance - :amount
         WHERE username = :username AND balance >= :amount
        RETURNING username
    )
    INSERT INTO movements (username, kind, amount) SELECT username, 'withdraw', :amount FROM taken
    RETURNING id
"""

KNOWN = "SELECT username FROM clients WHERE username = :username"


def take(body: BalanceChange, db: Database) -> Simple:
    """Withdraw from any client's balance; both endpoints call this."""
    if db.row(WITHDRAW, username=body.username, amount=body.amount):
        return Simple()
    known = db.row(KNOWN, username=body.username)
    return Simple.refused("Not enough money" if known else "Client not found")


@rest("POST", "/billing-service/api/v1/internal/balance/withdraw", caller="internal")
def internal_withdraw(body: BalanceChange, key: IdempotencyKey | None, db: Database) -> Moved:
    """Withdraw from a client's balance."""
    return Once(INTERNAL, key, "withdraw", body).do(lambda: take(body, db), db)
