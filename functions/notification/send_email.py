"""Deliver the mail about an ended order: a row in the user's mail table.

The event is notification.email; the function is not called `email`, because the framework would put it in the place
of the standard library's module of that name.
"""

from functions.shared.decisions import Decisions
from functions.shared.step import step
from schemas.events import EmailMessage

DELIVER = """
    INSERT INTO emails (order_id, username, email, message)
    VALUES (:order_id, :username, :email, :message)
    ON CONFLICT (order_id) DO NOTHING
"""


@step
def send_email(mail: EmailMessage, db: Decisions) -> None:
    """One mail per order, however often it is asked for."""
    db.row(DELIVER, order_id=mail.order_id, username=mail.user_name, email=mail.email, message=mail.message)
