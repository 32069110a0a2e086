"""What notification's REST methods take and give."""

from typing import Annotated

from pydantic import Field

from schemas.answers import Envelope
from schemas.billing import UserQuery
from schemas.fields import OrderId, Page, Wire, listed


class MailsQuery(UserQuery, Page):
    """Whose mails, and which of them: the first page has the newest."""


class Mail(Wire):
    """One delivered mail."""

    username: str
    message: str
    email: str
    status: str


class Mails(Envelope):
    """A page of a user's mails, oldest first; the first page has the newest of them."""

    emails: list[Mail] | None = None


class OrderIds(Wire):
    """Orders that have ended."""

    order_ids: Annotated[list[OrderId], Field(max_length=1000), listed(0, 1000, "orders")]


class MissingMails(Wire):
    """Those of the orders about which no mail was delivered."""

    order_ids: list[str]
