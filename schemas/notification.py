"""What notification's REST methods take and give."""

from typing import Annotated

from pydantic import Field

from schemas.answers import Envelope
from schemas.billing import UserQuery
from schemas.fields import OrderId, Wire, listed

__all__ = ["Mail", "Mails", "MissingMails", "OrderIds", "UserQuery"]


class Mail(Wire):
    """One delivered mail."""

    username: str
    message: str
    email: str
    status: str


class Mails(Envelope):
    """A user's mails, oldest first."""

    emails: list[Mail] | None = None


class OrderIds(Wire):
    """Orders that have ended."""

    order_ids: Annotated[list[OrderId], Field(max_length=1000), listed(0, 1000, "orders")]


class MissingMails(Wire):
    """Those of the orders about which no mail was delivered."""

    order_ids: list[str]
