"""List the ended orders that have no mail yet; the re-drive asks, so that a lost notification is sent again."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.notification import MissingMails, OrderIds

MISSING = """
    SELECT order_id FROM unnest(CAST(:order_ids AS text[])) AS asked (order_id)
     WHERE NOT EXISTS (SELECT FROM emails e WHERE e.order_id = asked.order_id)
"""


@rest("POST", "/notification-service/api/v1/internal/missing", caller="internal")
def missing(body: OrderIds, db: Database) -> MissingMails:
    """The asked orders less those that have their mail."""
    return MissingMails(order_ids=[row.order_id for row in db.rows(MISSING, order_ids=body.order_ids)])
