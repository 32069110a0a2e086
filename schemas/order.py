"""What order's REST methods take and give."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.answers import Envelope, Simple, ToldMoney
from schemas.fields import Amount, Count, Day, DishId, FilledText, Hour, Money, OrderId, Text, Wire, some_dishes


def _digits(value: Any) -> Any:
    """Clients of old also send whole numbers as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class OrderedDish(Wire):
    """So many portions of a dish of the menu."""

    menu_id: Annotated[DishId, BeforeValidator(_digits)]
    count: Annotated[Count, BeforeValidator(_digits)]


class OrderRequest(Wire):
    """An order as the client sends it; `msg_id` is the client's own name for it."""

    msg_id: Annotated[FilledText, Field(max_length=100)]
    amount: Amount
    discount: Money = Field(default=0, validate_default=True)
    quantity: Annotated[Count, BeforeValidator(_digits)] = 1
    user_name: Text | None = None
    dishs: Annotated[tuple[OrderedDish, ...], AfterValidator(some_dishes)] = Field(
        json_schema_extra={"minItems": 1, "maxItems": 100}
    )
    delivery_date: Day
    delivery_hour: Annotated[Hour, BeforeValidator(_digits)]


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


class OrdersQuery(Wire):
    """All orders of a user."""

    user_name: Text | None = None


class OrderState(Wire):
    """Where an order stands. Times are ISO 8601 in UTC; a status is null until its step has spoken."""

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
    """A user's orders, newest first."""

    orders: list[OrderState] | None = None
