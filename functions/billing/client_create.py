"""Open a client's balance."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.answers import Simple
from schemas.billing import NewClient

OPEN = "INSERT INTO clients (username) VALUES (:username) ON CONFLICT (username) DO NOTHING"


@rest("POST", "/billing-service/api/v1/internal/clients", caller="internal")
def client_create(body: NewClient, db: Database) -> Simple:
    """Open a balance of zero; asking again for the same client changes nothing and is fine."""
    db.rows(OPEN, username=body.username)
    return Simple()
