"""Begin the payment of an order: ask billing for its money."""

from functions.shared.step import step
from schemas.events import Sale, Withdraw


@step
def sale(order: Sale) -> Withdraw:
    """Pay keeps nothing yet: a payment exists when its money does."""
    return Withdraw(**order.facts())
