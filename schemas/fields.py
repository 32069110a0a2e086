"""Field types that events and REST bodies share, each with the refusal that its users read."""

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

LARGEST = Decimal("9999999999.99")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DAY = re.compile(r"\d{2}\.\d{2}\.\d{4}", re.ASCII)


class Wire(BaseModel):
    """Anything that travels: frozen, camelCase outside, unknown fields ignored on the way in."""

    # Built at their first use: a function knows all events of the saga, and meets two of them.
    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        serialize_by_alias=True,
        defer_build=True,
    )


# A number in a string, as JSON writes numbers: Python would take `1_000.50`, `٣.٥0` and blanks too.
NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
DIGITS = re.compile(r"-?[0-9]{1,19}")


def _decimal(value: Any) -> Decimal:
    """An exact amount from a JSON number or a number in a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("expected a number with at most two places")
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError("expected a number with at most two places")
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError("expected a number with at most two places") from None
    if not amount.is_finite() or abs(amount) > LARGEST or amount != (exact := round(amount, 2)):
        raise ValueError(f"expected a number with at most two places, up to {LARGEST}")
    return exact + 0


def _above_zero(amount: Decimal) -> Decimal:
    if amount <= 0:
        raise ValueError("expected an amount above zero")
    return amount


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("expected zero or more")
    return amount


def _money_schema(**limits: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", "multipleOf": 0.01, "maximum": float(LARGEST), **limits})


# Money that moves is above zero; money in an answer, and a discount, is zero or more. Both are exact, with two
# places, and numbers in JSON.
Amount = Annotated[Decimal, BeforeValidator(_decimal), AfterValidator(_above_zero), _money_schema(exclusiveMinimum=0)]
Money = Annotated[Decimal, BeforeValidator(_decimal), AfterValidator(_not_negative), _money_schema(minimum=0)]


def _whole(value: Any) -> int:
    """An int from a JSON number without places or, as clients of old send it, from its digits in a string."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    raise ValueError("expected a whole number")


# Limits go before the validator, so that pydantic's core looks at them, and no function of Python for each.
Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(_whole)]
DishId = Annotated[int, Field(ge=1, le=2_147_483_647), BeforeValidator(_whole)]
Hour = Annotated[int, Field(ge=0, le=23), BeforeValidator(_whole)]


def _printable(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("expected text without control characters")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a text that is not blank")
    return text


Text = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
FilledText = Annotated[Text, AfterValidator(_not_blank)]
UserName = Annotated[str, Field(max_length=50), AfterValidator(_printable), AfterValidator(_not_blank)]


def plain_name(name: Any) -> Any:
    """A user's name in one form, however it was typed: composed (NFC), without blanks around it; case counts."""
    return unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else name


# A name that is not taken yet. Those of events and answers are somebody's already, and stay as they are.
NewName = Annotated[UserName, BeforeValidator(plain_name)]
Email = Annotated[Text, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
Phone = Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ()\-]{0,30}$")]
# An order's id is also the subject of its events, so it is printable ASCII without blanks.
OrderId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


def listed(least: int, most: int, what: str) -> BeforeValidator:
    """A limit of a list that is looked at before its items are: a million of them are refused, not read."""

    def limit(items: Any) -> Any:
        if isinstance(items, list | tuple) and not least <= len(items) <= most:
            raise ValueError(f"expected {least} to {most} {what}")
        return items

    return BeforeValidator(limit)


SOME_DISHES = listed(1, 100, "dishes")


class Page(Wire):
    """Which part of a list: so many, after so many pages of that size. Without it the first thousand."""

    page: Annotated[Whole, Field(ge=0, le=1_000_000, description="pages before this one")] = 0
    size: Annotated[Whole, Field(ge=1, le=1000, description="how many are on a page")] = 1000

    @property
    def rows(self) -> dict[str, int]:
        """For LIMIT :size OFFSET :offset."""
        return {"size": self.size, "offset": self.page * self.size}


def _day(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        if not isinstance(value, str) or not DAY.fullmatch(value):
            raise ValueError
        return date(int(value[6:]), int(value[3:5]), int(value[:2]))
    except ValueError:
        raise ValueError("expected a day of the calendar as dd.MM.yyyy") from None


def day_text(day: date) -> str:
    """As dd.MM.yyyy."""
    return f"{day.day:02}.{day.month:02}.{day.year:04}"


Day = Annotated[
    date,
    BeforeValidator(_day),
    PlainSerializer(day_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d{2}\.\d{2}\.\d{4}$", "examples": ["03.02.2023"]}),
]
