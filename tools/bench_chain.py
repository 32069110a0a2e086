"""The saga as plain SQL, for measuring it without our functions: on other engines, and by a hand-written loop.

The statements are the functions' own, read from their files without importing them, so that a program in another
virtual environment can run them too. A step here is a generator: it yields a statement with its values, is sent the
first row (or None), and returns its decision. Whoever runs it brings the driver and the commit.
"""

import ast
import re
from collections.abc import Callable, Generator
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FUNCTIONS = Path(__file__).parents[1] / "functions"
DEADLINE = 60.0
FIRST_DAY = date(3000, 1, 1)
FIRST_DISH, DISHES = 1_000_100, 16

Values = dict[str, Any]
Row = tuple[Any, ...]
Step = Generator[tuple[str, Values], Row | None, Any]


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


# Every statement of the saga that is used here, and where it stands.
ACCEPT = statement("order/submit.py", "ACCEPT")
CREATE = statement("order/new_order.py", "CREATE")
CHARGED = statement("billing/withdraw.py", "DECIDED")
CHARGE = statement("billing/withdraw.py", "TAKE")
BOOK_SALE = statement("pay/confirm_sale.py", "BOOK")
RESERVED = statement("store/booking_food.py", "DECIDED")
RESERVE = statement("store/booking_food.py", "RESERVE")
COURIER_BOOKED = statement("delivery/booking_courier.py", "DECIDED")
COURIERS = statement("delivery/booking_courier.py", "STAFF")
BOOK_COURIER = statement("delivery/booking_courier.py", "BOOK")
REFUSE_COURIER = statement("delivery/booking_courier.py", "REFUSE")
RELEASE_COURIER = statement("delivery/booking_courier.py", "RELEASE")
PUT_FOOD_BACK = statement("store/cancel_booking_food.py", "PUT_BACK")
BOOK_REFUND = statement("pay/refund.py", "UNDO")
REFUNDED = statement("pay/refund.py", "UNDONE")
GIVE_BACK = statement("billing/refund.py", "GIVE_BACK")
END = statement("order/result.py", "END")
PUT_INTO_OUTBOX = statement("order/outbox.py", "PUT")
SENT = statement("order/outbox.py", "SENT")
DELIVER = statement("notification/send_email.py", "DELIVER")

COMPLETED, CANCELED = "Заказ успешно создан", "Выбранное блюдо недоступно"


class Order(NamedTuple):
    """One order; what stands in it is text and numbers, so that every engine can keep it."""

    order_id: str
    msg_id: str
    username: str
    email: str
    request: str
    amount: str
    dish_ids: list[int]
    counts: list[int]
    day: str
    hour: int

    def values(self, *names: str) -> Values:
        """Some of its fields as the statements want them."""
        return {name: _typed(name, getattr(self, name)) for name in names}


def _typed(name: str, value: Any) -> Any:
    if name == "amount":
        return Decimal(value)
    return date.fromisoformat(value) if name == "day" else value


def day_and_hour(number: int) -> tuple[date, int]:
    """A time of delivery for each number, so that the couriers are never all busy."""
    return FIRST_DAY + timedelta(days=number // 24 % 2_000_000), number % 24


def dish_of(number: int) -> int:
    """What is ordered: not all want the same dish, whose row they would all wait for."""
    return FIRST_DISH + number % DISHES


# -- the steps forward, in their order -----------------------------------------------------------------------------


def accept(order: Order) -> Step:
    """What is written when the order is taken from its client; the event goes into the outbox beside it."""
    yield ACCEPT, order.values("order_id", "msg_id", "username", "email", "request", "amount") | {"deadline": DEADLINE}


def new_order(order: Order) -> Step:
    """The order is on its way."""
    yield CREATE, order.values("order_id", "msg_id", "username", "email", "request", "amount") | {"deadline": DEADLINE}


def withdraw(order: Order) -> Step:
    """Take its money; returns the pay status."""
    decided = yield CHARGED, order.values("order_id")
    return (decided or (yield CHARGE, order.values("order_id", "username", "amount")))[0]


def confirm_sale(order: Order) -> Step:
    """Book its SALE payment."""
    yield BOOK_SALE, order.values("order_id", "username", "amount")


def booking_food(order: Order) -> Step:
    """Reserve its dishes; returns the store status."""
    decided = yield RESERVED, order.values("order_id")
    prices = {"prices_bind": False, "discount": Decimal(0)}
    return (decided or (yield RESERVE, order.values("order_id", "dish_ids", "counts", "amount") | prices))[0]


def booking_courier(order: Order) -> Step:
    """Reserve a courier; returns the delivery status."""
    if decided := (yield COURIER_BOOKED, order.values("order_id")):
        return decided[0]
    (couriers,) = yield COURIERS, {}
    for _ in range(couriers):
        if booked := (yield BOOK_COURIER, order.values("order_id", "day", "hour")):
            return booked[0]
    refusal = {"status": "AllBusy" if couriers else "NoCouriers"}
    return (yield REFUSE_COURIER, order.values("order_id", "day", "hour") | refusal)[0]


def result(order: Order, pay: str, store: str, delivery: str) -> Step:
    """End the order; returns what its client is told."""
    completed = (pay, store, delivery) == ("Ok", "Ok", "Ok")
    reason = COMPLETED if completed else CANCELED
    statuses = {"pay_status": pay, "store_status": store, "delivery_status": delivery, "reason": reason}
    yield END, order.values("order_id") | statuses | {"status": "Completed" if completed else "Canceled"}
    return reason


def send_email(order: Order, message: str) -> Step:
    """Tell the client."""
    yield DELIVER, order.values("order_id", "username", "email") | {"message": message}


# -- the way back --------------------------------------------------------------------------------------------------


def release_courier(order: Order) -> Step:
    """Undo booking_courier."""
    yield RELEASE_COURIER, order.values("order_id")


def cancel_booking_food(order: Order) -> Step:
    """Undo booking_food."""
    yield PUT_FOOD_BACK, order.values("order_id")


def refund_payment(order: Order) -> Step:
    """Undo confirm_sale; returns whether there was a payment."""
    yield BOOK_REFUND, order.values("order_id")
    return (yield REFUNDED, order.values("order_id")) is not None


def refund_balance(order: Order) -> Step:
    """Undo withdraw."""
    yield GIVE_BACK, order.values("order_id")


def run(step: Step, execute: Callable[[str, Values], Row | None]) -> Any:
    """Walk through a step with a driver that waits; gives the step's decision."""
    row = None
    while True:
        try:
            asked = step.send(row)
        except StopIteration as end:
            return end.value
        row = execute(*asked)
