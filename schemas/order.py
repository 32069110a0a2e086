"""What order's REST methods take and give."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.answers import Envelope, Simple, ToldMoney
from schemas.fields import SOME_DISHES, Amount, Count, Day, DishId, FilledText, Hour, Money, OrderId, Page, Text, Wire


class OrderedDish(Wire):
    """So many portions of a dish of the menu."""

    menu_id: DishId
    count: Count


class OrderRequest(Wire):
    """An order as the client sends it; `msg_id` is the client's own name for it."""

    msg_id: Annotated[FilledText, Field(max_length=100)]
    amount: Amount
    discount: Money = Field(default=0, validate_default=True)
    quantity: Count = 1
    user_name: Text | None = None
    dishs: Annotated[tuple[OrderedDish, ...], SOME_DISHES] = Field(json_schema_extra={"minItems": 1, "maxItems": 100})
    delivery_date: Day
    delivery_hour: Hour


class OrderTaken(Simple):
    """The order was taken: Simple, and its id."""

    order_id: str


class OrderQuery(Wire):
    """One order of a user, by its id or by the client's own name for it."""

    user_name: Text | None = None
    order_id: OrderId | None = None
    msg_id: Annotated[Text, Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.order_id is None) == (self.msg_id is None):
            raise ValueError("expected either orderId or msgId")
        return self


class OrdersQuery(Page):
    """Which of a user's orders, the newest first."""

    user_name: Text | None = None


class OrderState(Wire):
    """The state of an order. Times are ISO 8601 in UTC; a status is null until its step has decided."""

    order_id: str
    msg_id: str
    amount: ToldMoney
    status: str
    reason: str | None
    pay_status: str | None
    store_status: str | None
    delivery_status: str | None
    accepted_at: str
    ended_at: str | None
    needs_attention: bool


class FoundOrder(Envelope):
    """The order that was asked for."""

    order: OrderState | None = None


class FoundOrders(Envelope):
    """A page of a user's orders, newest first."""

    orders: list[OrderState] | None = None
