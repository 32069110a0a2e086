"""Tell any client's balance: the internal door; balance_get.py is the public one."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.billing import Balance, UserQuery

READ = "SELECT username, balance FROM clients WHERE username = :username"


def tell(body: UserQuery, db: Database) -> Balance:
    """Any client's balance; both doors lead here."""
    client = db.row(READ, username=body.username)
    if client is None:
        return Balance.refused(-9000, "Client not found")
    return Balance(username=client.username, amount=client.balance)


@rest("POST", "/billing-service/api/v1/internal/balance/get", caller="internal")
def internal_get(body: UserQuery, db: Database) -> Balance:
    """A client's balance."""
    return tell(body, db)
