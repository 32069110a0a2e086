"""The refusals that an envelope can hold, as the published clients know them: `errorCode` and `errorMessage`."""

from typing import NamedTuple


class Refusal(NamedTuple):
    """A code, which programs read, and a text for people."""

    code: int
    message: str


USER_NOT_FOUND = Refusal(-502, "User not found")
ADMIN_STAYS_ENABLED = Refusal(-503, "Admin user can not be disabled")
LAST_ADMIN_STAYS = Refusal(-503, "The last administrator keeps ROLE_ADMIN")
USER_DATA_OF_ANOTHER = Refusal(-8511, "Access denied")
ACCESS_DENIED = Refusal(-8513, "Access denied")
ORDER_NOT_FOUND = Refusal(-8514, "Order not found")
CLIENT_NOT_FOUND = Refusal(-9000, "Client not found")


def not_done(reason: str) -> Refusal:
    """The administration did not do it, or not all of it yet, for this reason."""
    return Refusal(-700, reason)
