"""Show any client's balance: the internal endpoint; balance_get.py is the public one."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.billing import Balance, UserQuery
from schemas.error_codes import CLIENT_NOT_FOUND

READ = "SELECT username, balance FROM clients WHERE username = :username"


def get_balance(body: UserQuery, db: Database) -> Balance:
    """Any client's balance; both endpoints call this."""
    client = db.row(READ, username=body.username)
    if client is None:
        return Balance.refused(CLIENT_NOT_FOUND)
    return Balance(username=client.username, amount=client.balance)


@rest("POST", "/billing-service/api/v1/internal/balance/get", caller="internal")
def internal_get(body: UserQuery, db: Database) -> Balance:
    """A client's balance."""
    return get_balance(body, db)
