"""List the caller's own mails."""

from functions.notification.find_email import list_mails
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.rest import rest
from schemas.error_codes import ACCESS_DENIED
from schemas.notification import Mails, MailsQuery


@rest("POST", "/ui-api-service/api/v1/external/user/notification", caller="bearer", autocommit=True)
def list_emails(body: MailsQuery, caller: Caller, db: Database) -> Mails:
    """One's own mails, oldest first."""
    if body.username != caller.username:
        return Mails.refused(ACCESS_DENIED)
    return list_mails(body, db)
