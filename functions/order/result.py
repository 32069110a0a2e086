"""End an order, and write the notification about it in the same commit."""

from functions.order import outbox
from functions.order.notice import notice_event
from functions.order.tally import count
from functions.shared.database import Database
from functions.shared.settings import BrokerSettings
from functions.shared.step import NotYet, require, step
from schemas.events import DeliveryStatus, OrderStatus, PayStatus, Result, StoreStatus

END = """
    UPDATE orders
       SET status = :status, pay_status = :pay_status, store_status = :store_status,
           delivery_status = :delivery_status, reason = :reason, ended_at = now()
     WHERE order_id = :order_id AND status = 'Created'
    RETURNING order_id, username, email, status, reason
"""

KNOWN = "SELECT status FROM orders WHERE order_id = :order_id AND ended_at IS NOT NULL"

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
def result(order: Result, db: Database) -> None:
    """One order ends once: whoever comes later finds it ended and writes nothing."""
    ended = db.row(
        END,
        order_id=order.order_id,
        status=OrderStatus.COMPLETED if order.is_complete else OrderStatus.CANCELED,
        pay_status=order.pay_status,
        store_status=order.store_status,
        delivery_status=order.delivery_status,
        reason=reason_of(order),
    )
    if ended:
        outbox.put(db, notice_event(ended))
        db.after_commit(lambda: count(ended.status, ended.reason))
    elif not db.row(KNOWN, order_id=order.order_id):
        raise NotYet(f"order {order.order_id} was not created here yet: order.newOrder comes first")


def reason_of(order: Result) -> str:
    """What the client is told: the first step that failed speaks."""
    statuses = (order.pay_status, order.store_status, order.delivery_status)
    return next((REASONS[status] for status in statuses if status in REASONS), COMPLETED)
