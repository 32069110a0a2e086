"""End an order, and write the notification about it in the same commit."""

from functions.order import outbox
from functions.order.ended import count
from functions.order.notice import event_id, notice_event
from functions.shared.decisions import Decisions
from functions.shared.settings import BrokerSettings, require
from functions.shared.step import NotYet, step
from schemas.events import DeliveryStatus, EmailMessage, OrderStatus, PayStatus, Result, StoreStatus

# End an order once, with its notification, which has all its tries before it; whoever comes later finds the order
# ended and writes nothing.
END = """
    WITH ended AS (
        UPDATE orders
           SET status = :status, pay_status = :pay_status, store_status = :store_status,
               delivery_status = :delivery_status, reason = :reason, ended_at = now(),
               redrives = 0, needs_attention_at = NULL
         WHERE order_id = :order_id AND status = 'Created'
        RETURNING order_id, username, email, status, reason
    ), queued AS (
        INSERT INTO outbox (id, type, order_id, traceparent, tracestate)
        SELECT :notice_id, :notice_type, order_id, :traceparent, :tracestate FROM ended
        ON CONFLICT (id) DO NOTHING
    )
    SELECT true AS now, order_id, username, email, status, reason FROM ended
    UNION ALL
    SELECT false, order_id, username, email, status, reason
      FROM orders WHERE order_id = :order_id AND ended_at IS NOT NULL
"""

COMPLETED = "Заказ успешно создан"
REASONS = {
    PayStatus.NOT_ENOUGH_MONEY: "Недостаточно средств на балансе клиента",
    PayStatus.CLIENT_NOT_FOUND: "Ошибка оплаты",
    StoreStatus.NOT_AVAILABLE: "Выбранное блюдо недоступно",
    StoreStatus.WRONG_PRICE: "Ошибка заказа блюда",
    DeliveryStatus.ALL_BUSY: "Все курьеры заняты. Выберите  другое время доставки.",
    DeliveryStatus.NO_COURIERS: "Ошибка доставки",
}

require(BrokerSettings)


@step
def result(order: Result, db: Decisions) -> None:
    """One order ends once, and its client is notified once."""
    ended = db.row(
        END,
        order_id=order.order_id,
        status=OrderStatus.COMPLETED if order.is_ok else OrderStatus.CANCELED,
        pay_status=order.pay_status,
        store_status=order.store_status,
        delivery_status=order.delivery_status,
        reason=reason_of(order),
        notice_id=event_id(order.order_id),
        notice_type=EmailMessage.event_type,
        **outbox.trace_columns(),
    )
    if ended is None:
        raise NotYet(f"order {order.order_id} was not created here yet: order.newOrder comes first")
    if ended.now:
        outbox.send_when_committed(db, lambda: notice_event(ended))
        db.after_commit(lambda: count(ended.status, ended.reason))


def reason_of(order: Result) -> str:
    """The text for the client: that of the first step that failed."""
    return next((REASONS[status] for status in order.statuses().values() if status in REASONS), COMPLETED)
