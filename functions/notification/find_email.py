"""Tell any user's mails: the internal endpoint; list_emails.py is the public one."""

from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.notification import Mail, Mails, UserQuery

MAILS = "SELECT username, message, email, status FROM emails WHERE username = :username ORDER BY id"


def list_mails(body: UserQuery, db: Database) -> Mails:
    """All mails of a user, oldest first; both endpoints call this."""
    rows = db.rows(MAILS, username=body.username)
    return Mails(emails=[Mail(**row._asdict()) for row in rows])


@rest("POST", "/notification-service/api/v1/internal/findEmail", caller="internal")
def find_email(body: UserQuery, db: Database) -> Mails:
    """A user's mails."""
    return list_mails(body, db)
