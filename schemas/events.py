"""The events of the saga, in the order in which a completed and then a canceled order meets them.

Every event carries what later steps need, because no step may look into another owner's tables.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from schemas.fields import SOME_DISHES, Amount, Count, Day, DishId, Email, Hour, Money, OrderId, Text, UserName, Wire

PREFIX = "homework.arch."
ALL: dict[str, type["EventData"]] = {}

# The examples are three orders of one client: one that is completed, one that failed at the first step, and one
# that found every courier busy. Order ids are derived, as the order's owner derives them: from user and msgId.
_ORDERED: dict[str, Any] = {
    "userName": "user1",
    "amount": Decimal("76.09"),
    "discount": Decimal("88.40"),
    "quantity": 3,
    "dishs": [{"menuId": 1, "count": 2}, {"menuId": 4, "count": 1}],
    "deliveryDate": "03.02.2023",
    "deliveryHour": 23,
}
_GOOD = {"orderId": "185dfee9-fc83-5571-bc12-ca468abe2c68", **_ORDERED}
_UNPAID = {"orderId": "6a372fd3-1696-5782-8168-e697ff65271d", **_ORDERED}
_BUSY = {"orderId": "f21b0f29-4fb2-57ae-b730-be0589eaf3a2", **_ORDERED}
_ALL_OK = {"payStatus": "Ok", "storeStatus": "Ok", "deliveryStatus": "Ok"}
_NOT_PAID = {"payStatus": "NotEnoughMoney", "storeStatus": "Skipped", "deliveryStatus": "Skipped"}
_ALL_BUSY = {"payStatus": "Ok", "storeStatus": "Ok", "deliveryStatus": "AllBusy"}


class PayStatus(StrEnum):
    """What became of the money."""

    OK = "Ok"
    NOT_ENOUGH_MONEY = "NotEnoughMoney"
    CLIENT_NOT_FOUND = "ClientNotFound"


class StoreStatus(StrEnum):
    """What became of the food; Skipped: an earlier step had failed, so nothing was tried."""

    OK = "Ok"
    NOT_AVAILABLE = "NotAvailable"
    WRONG_PRICE = "WrongPrice"
    SKIPPED = "Skipped"


class DeliveryStatus(StrEnum):
    """What became of the courier."""

    OK = "Ok"
    ALL_BUSY = "AllBusy"
    NO_COURIERS = "NoCouriers"
    SKIPPED = "Skipped"


class OrderStatus(StrEnum):
    """Where an order stands; the last two are final."""

    ACCEPTED = "Accepted"
    CREATED = "Created"
    COMPLETED = "Completed"
    CANCELED = "Canceled"


class Dish(Wire):
    """One line of an order: so many portions of a dish of the menu."""

    menu_id: DishId
    count: Count


class EventData(Wire):
    """The data of an event; its class says the event's type, `subject` is the order's id."""

    event_type: ClassVar[str]
    short_type: ClassVar[str]
    example: ClassVar[dict[str, Any]]

    order_id: OrderId

    def __init_subclass__(cls, type: str = "", **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if type:
            cls.short_type, cls.event_type = type, PREFIX + type
            ALL[type] = cls

    @property
    def subject(self) -> str:
        """What the event is about: the order."""
        return self.order_id


class OrderFacts(EventData):
    """What the client ordered; travels with the order through every step."""

    user_name: UserName
    amount: Amount
    discount: Money
    quantity: Count
    dishs: Annotated[tuple[Dish, ...], SOME_DISHES] = Field(json_schema_extra={"minItems": 1, "maxItems": 100})
    delivery_date: Day
    delivery_hour: Hour

    def facts(self) -> dict[str, Any]:
        """The order's own fields, to be carried into the next event."""
        return {name: getattr(self, name) for name in OrderFacts.model_fields}

    def statuses(self) -> dict[str, StrEnum]:
        """What the steps before have decided, in their order, to be carried into the next event."""
        return {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_status")}

    @property
    def is_ok(self) -> bool:
        """Every step before said Ok."""
        return all(status == "Ok" for status in self.statuses().values())


class AfterPay(OrderFacts):
    """An order with pay's decision."""

    pay_status: PayStatus


class AfterStore(AfterPay):
    """An order with the decisions of pay and store."""

    store_status: StoreStatus


class AfterDelivery(AfterStore):
    """An order with the decisions of pay, store and delivery."""

    delivery_status: DeliveryStatus

    def everything(self) -> dict[str, Any]:
        """The order's own fields and all statuses."""
        return {name: getattr(self, name) for name in AfterDelivery.model_fields}


class NewOrder(OrderFacts, type="order.newOrder"):
    """An order was accepted: it is to be created and the saga to begin."""

    example: ClassVar[dict[str, Any]] = {**_GOOD, "msgId": "order-1", "email": "user1@example.org"}

    msg_id: Text
    email: Email


class Sale(OrderFacts, type="pay.sale"):
    """An order was created: it is to be paid."""

    example: ClassVar[dict[str, Any]] = _GOOD


class Withdraw(OrderFacts, type="billing.withdraw"):
    """Pay asks billing for the money of an order."""

    example: ClassVar[dict[str, Any]] = _GOOD


class ConfirmSale(AfterPay, type="pay.confirmSale"):
    """Billing has taken the money, or says why not."""

    example: ClassVar[dict[str, Any]] = {**_GOOD, "payStatus": "Ok"}


class BookingFood(AfterPay, type="store.bookingFood"):
    """The payment is settled: the dishes are to be reserved, unless it failed."""

    example: ClassVar[dict[str, Any]] = {**_GOOD, "payStatus": "Ok"}


class BookingCourier(AfterStore, type="delivery.bookingCourier"):
    """The food is settled: a courier is to be reserved, unless a step before failed."""

    example: ClassVar[dict[str, Any]] = {**_GOOD, "payStatus": "Ok", "storeStatus": "Ok"}


class CancelBookingFood(AfterDelivery, type="store.cancelBookingFood"):
    """A step failed: reserved food is to be put back."""

    example: ClassVar[dict[str, Any]] = {**_UNPAID, **_NOT_PAID}


class RefundPayment(AfterDelivery, type="pay.refund"):
    """The food is back: a payment, if there was one, is to be undone."""

    example: ClassVar[dict[str, Any]] = {**_UNPAID, **_NOT_PAID}


class RefundBalance(AfterDelivery, type="billing.refund"):
    """A payment was undone: its money goes back to the client's balance."""

    example: ClassVar[dict[str, Any]] = {**_BUSY, **_ALL_BUSY}


class Result(AfterDelivery, type="order.result"):
    """All steps have decided, and whatever had to be compensated is compensated."""

    example: ClassVar[dict[str, Any]] = {**_GOOD, **_ALL_OK}


class EmailMessage(EventData, type="notification.email"):
    """The order has ended: its client is to be notified."""

    example: ClassVar[dict[str, Any]] = {
        "orderId": _GOOD["orderId"],
        "userName": "user1",
        "email": "user1@example.org",
        "message": "Заказ успешно создан",
    }

    user_name: UserName
    email: Email
    message: Text
