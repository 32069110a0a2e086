"""What billing's REST methods take and give."""

from schemas.answers import Envelope, ToldMoney
from schemas.fields import Amount, Text, UserName, Wire


class UserQuery(Wire):
    """Whose; without a name it is nobody's, which is refused as somebody else's."""

    username: Text | None = None


class BalanceChange(Wire):
    """Money to be added to, or withdrawn from, a client's balance."""

    username: Text
    amount: Amount


class NewClient(Wire):
    """A client who gets a balance of zero."""

    username: UserName


class Balance(Envelope):
    """What a client has."""

    username: str | None = None
    amount: ToldMoney | None = None
