"""List any user's mails: the internal endpoint; list_emails.py is the public one."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.notification import Mail, Mails, MailsQuery

MAILS = """
    SELECT username, message, email, status
      FROM (SELECT id, username, message, email, status
              FROM emails WHERE username = :username ORDER BY id DESC LIMIT :size OFFSET :offset) AS page
     ORDER BY id
"""


def list_mails(body: MailsQuery, db: Database) -> Mails:
    """A page of a user's mails, oldest first, the newest on the first page; both endpoints call this."""
    rows = db.rows(MAILS, username=body.username, **body.rows)
    return Mails(emails=[Mail(**row._asdict()) for row in rows])


@rest("POST", "/notification-service/api/v1/internal/findEmail", caller="internal")
def find_email(body: MailsQuery, db: Database) -> Mails:
    """A user's mails."""
    return list_mails(body, db)
