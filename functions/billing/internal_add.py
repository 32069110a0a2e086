"""Put money on any client's balance: the internal endpoint; balance_add.py is the public one."""

from functions.billing.idempotency import INTERNAL, Moved, Once
from functions.shared.database import Database
from functions.shared.idempotency import IdempotencyKey
from functions.shared.rest import rest
from schemas.answers import Simple
from schemas.billing import BalanceChange
from schemas.fields import LARGEST

ADD = """
    WITH added AS (
        UPDATE clients SET balance = balance + :amount
         WHERE username = :username AND balance <= 9999999999.99 - :amount
        RETURNING username
    )
    INSERT INTO movements (username, kind, amount) SELECT username, 'add', :amount FROM added
    RETURNING id
"""

KNOWN = "SELECT username FROM clients WHERE username = :username"


def add(body: BalanceChange, db: Database) -> Simple:
    """Add to any client's balance; both endpoints call this."""
    if db.row(ADD, username=body.username, amount=body.amount):
        return Simple()
    known = db.row(KNOWN, username=body.username)
    return Simple.refused(f"Too much money: a balance holds {LARGEST} at the most" if known else "Client not found")


@rest("POST", "/billing-service/api/v1/internal/balance/add", caller="internal")
def internal_add(body: BalanceChange, key: IdempotencyKey | None, db: Database) -> Moved:
    """Add to a client's balance."""
    return Once(INTERNAL, key, "add", body).do(lambda: add(body, db), db)
