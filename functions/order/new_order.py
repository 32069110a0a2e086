"""Create an accepted order and begin its saga."""

from functions.order.saga_start import REQUEST, SagaSettings
from functions.shared import exact_json
from functions.shared.decisions import Decisions
from functions.shared.settings import read, require
from functions.shared.step import step
from schemas.events import NewOrder, Sale

# Normally the row is there, as accepted; an order that is sent in as an event alone gets its row here.
CREATE = """
    INSERT INTO orders (order_id, msg_id, username, email, request, amount, status, created_at, redrive_at)
    VALUES (:order_id, :msg_id, :username, :email, :request, :amount, 'Created', now(),
            now() + make_interval(secs => CAST(:deadline AS double precision)))
    ON CONFLICT (order_id) DO UPDATE SET status = 'Created', created_at = now() WHERE orders.status = 'Accepted'
"""

require(SagaSettings)


@step
def new_order(order: NewOrder, db: Decisions) -> Sale:
    """The saga has begun: the order will end Completed or Canceled."""
    db.row(
        CREATE,
        order_id=order.order_id,
        msg_id=order.msg_id,
        username=order.user_name,
        email=order.email,
        request=exact_json.dumps(order.model_dump(by_alias=True, include=REQUEST)),
        amount=order.amount,
        deadline=read(SagaSettings).saga_deadline_seconds,
    )
    return Sale(**order.facts())
