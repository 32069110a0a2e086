"""The saga as plain SQL, for measuring it without our functions: on other engines, and by a hand-written loop.

The statements are the functions' own, one a step, read from their files without importing them, so that a program in
another virtual environment can run them too. Whoever runs them brings the driver and the commit.
"""

import ast
import re
import uuid
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FUNCTIONS = Path(__file__).parents[1] / "functions"
EMAIL = "bench@example.org"
DEADLINE = 60.0
OPENING, NOTICE = "homework.arch.order.newOrder", "homework.arch.notification.email"
REASONS = {
    "NotEnoughMoney": "Недостаточно средств на балансе клиента",
    "ClientNotFound": "Ошибка оплаты",
    "NotAvailable": "Выбранное блюдо недоступно",
    "AllBusy": "Все курьеры заняты. Выберите  другое время доставки.",
}
COMPLETED = "Заказ успешно создан"


@cache
def tables_of(owner: str) -> frozenset[str]:
    """The names of an owner's tables."""
    texts = (path.read_text("utf-8") for path in (FUNCTIONS / owner / "tables").glob("*.sql"))
    return frozenset(name for text in texts for name in re.findall(r"CREATE TABLE (\w+)", text))


def with_schema(owner: str, sql: str) -> str:
    """The statement with its tables' schema written out: our roles have it in their search path, others do not."""
    names = "|".join(sorted(tables_of(owner)))
    return re.sub(rf"\b(FROM|JOIN|INTO|UPDATE) ({names})\b", rf'\1 "{owner}".\2', sql)


def statement(file: str, name: str) -> str:
    """The statement that `functions/<file>` keeps under `name`."""
    for node in ast.parse((FUNCTIONS / file).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [name] == [getattr(target, "id", "") for target in node.targets]:
            return with_schema(file.partition("/")[0], ast.literal_eval(node.value))
    raise LookupError(f"functions/{file}: expected a statement {name}, found none: adapt {__name__}")


# Every statement that is used here, and where it stands.
ACCEPT = statement("order/submit.py", "ACCEPT")
CREATE = statement("order/new_order.py", "CREATE")
CHARGE = statement("billing/withdraw.py", "CHARGE")
BOOK_SALE = statement("pay/confirm_sale.py", "BOOK")
RESERVE = statement("store/booking_food.py", "RESERVE")
BOOK_COURIER = statement("delivery/booking_courier.py", "BOOK")
PUT_BACK = statement("store/cancel_booking_food.py", "PUT_BACK")
REFUND = statement("pay/refund.py", "UNDO")
GIVE_BACK = statement("billing/refund.py", "GIVE_BACK")
END = statement("order/result.py", "END")
DELIVER = statement("notification/send_email.py", "DELIVER")
SENT = statement("order/outbox.py", "SENT")


class Asked(NamedTuple):
    """A statement with the values of its named parameters; what it decides is the first column of its first row."""

    sql: str
    values: dict[str, Any]


class Order(NamedTuple):
    """An order as its steps know it; text and numbers alone, so that every engine can keep it."""

    order_id: str
    msg_id: str
    username: str
    request: str
    amount: str
    discount: str
    dish_ids: list[int]
    counts: list[int]
    day: str
    hour: int

    @classmethod
    def of(cls, body: dict[str, Any], request: str) -> "Order":
        """The order of a client's request, or of an event about it; parsed, and as it came."""
        message = body.get("msgId", "")
        return cls(
            order_id=body.get("orderId") or derived_id("order", body["userName"], message),
            msg_id=message,
            username=body["userName"],
            request=request,
            amount=str(body["amount"]),
            discount=str(body["discount"]),
            dish_ids=[dish["menuId"] for dish in body["dishs"]],
            counts=[dish["count"] for dish in body["dishs"]],
            day=body["deliveryDate"],
            hour=body["deliveryHour"],
        )

    @property
    def money(self) -> Decimal:
        return Decimal(self.amount)

    @property
    def delivery_date(self) -> date:
        return datetime.strptime(self.day, "%d.%m.%Y").date()


def derived_id(*parts: str) -> str:
    """The same parts always give the same id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "\n".join(parts)))


def _row(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id, "msg_id": order.msg_id, "username": order.username, "email": EMAIL,
        "request": order.request, "amount": order.money, "deadline": DEADLINE,
    }  # fmt: skip


UNTRACED = {"traceparent": None, "tracestate": None}


def accept(order: Order) -> Asked:
    """Take the order from its client, with the event that opens its saga in the outbox."""
    event = {"event_id": derived_id(OPENING, order.order_id), "event_type": OPENING, "refuse": False}
    return Asked(ACCEPT, _row(order) | event | UNTRACED)


def new_order(order: Order) -> Asked:
    """The saga has begun."""
    return Asked(CREATE, _row(order))


def withdraw(order: Order) -> Asked:
    """Take its money: the pay status."""
    return Asked(CHARGE, {"order_id": order.order_id, "username": order.username, "amount": order.money})


def confirm_sale(order: Order) -> Asked:
    """Book its SALE payment."""
    return Asked(BOOK_SALE, {"order_id": order.order_id, "username": order.username, "amount": order.money})


def booking_food(order: Order) -> Asked:
    """Reserve its dishes: the store status."""
    prices = {"prices_bind": False, "amount": order.money, "discount": Decimal(order.discount)}
    dishes = {"dish_ids": order.dish_ids, "counts": order.counts}
    return Asked(RESERVE, {"order_id": order.order_id} | dishes | prices)


def booking_courier(order: Order) -> Asked:
    """Reserve a courier: the delivery status."""
    return Asked(BOOK_COURIER, {"order_id": order.order_id, "day": order.delivery_date, "hour": order.hour})


def cancel_booking_food(order: Order) -> Asked:
    """Undo booking_food."""
    return Asked(PUT_BACK, {"order_id": order.order_id})


def refund_payment(order: Order) -> Asked:
    """Undo confirm_sale: the amount, or nothing where there was no payment."""
    return Asked(REFUND, {"order_id": order.order_id})


def refund_balance(order: Order) -> Asked:
    """Undo withdraw."""
    return Asked(GIVE_BACK, {"order_id": order.order_id})


def result(order: Order, pay: str, store: str, delivery: str) -> Asked:
    """End the order, with its notification in the outbox."""
    statuses = {"pay_status": pay, "store_status": store, "delivery_status": delivery}
    end = {
        "order_id": order.order_id, "reason": reason_of(pay, store, delivery),
        "status": "Completed" if delivery == "Ok" else "Canceled",
        "notice_id": derived_id(NOTICE, order.order_id), "notice_type": NOTICE,
    }  # fmt: skip
    return Asked(END, end | statuses | UNTRACED)


def reason_of(*statuses: str) -> str:
    """The text for the client: that of the first step that failed."""
    return next((REASONS[status] for status in statuses if status in REASONS), COMPLETED)


def send_email(order_id: str, username: str, message: str) -> Asked:
    """Notify the client."""
    return Asked(DELIVER, {"order_id": order_id, "username": username, "email": EMAIL, "message": message})


def events_sent(ids: list[str]) -> Asked:
    """The broker has taken these events of the outbox."""
    return Asked(SENT, {"ids": " ".join(ids)})


@cache
def for_psycopg(sql: str) -> str:
    """The named parameters in psycopg's way."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", sql.replace("%", "%%"))
