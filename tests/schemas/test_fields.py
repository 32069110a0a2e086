"""The fields that all models share: what they take, and in which form it goes on."""

from datetime import date
from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from functions.shared.validation_errors import MOST_TOLD, explain
from schemas.auth import RoleChoice, UserIds
from schemas.fields import Amount, Count, Day, DishId, Money, Wire
from schemas.notification import OrderIds
from schemas.order import OrderRequest


def read(type, value):
    """The value as the type has it."""
    return TypeAdapter(type).validate_python(value)


def refusal(type, value):
    """What is said against the value."""
    with pytest.raises(ValidationError) as raised:
        read(type, value)
    return explain(raised.value)


@pytest.mark.parametrize("text", ["1000.50", "1000.5", "1.0005e3", "0001000.50"])
def test_money_in_a_string_is_read_as_json_reads_numbers(text):
    assert Decimal("1000.50") == read(Amount, text)


@pytest.mark.parametrize(
    "text",
    ["1_000.50", "٣.٥0", "３", " 1", "1 ", "1\n", "+1", "1,5", "1.", ".5", "", "1e", "0x1", "NaN", "Infinity", "½"],
)
def test_money_in_any_other_writing_is_refused(text):
    assert refusal(Amount, text).startswith("expected a number with at most two places")


@pytest.mark.parametrize("value", [Decimal("1e400"), 10**399, "1e999", "9" * 5000, "1e500000", Decimal("1e-400")])
@pytest.mark.parametrize("type", [Amount, Money])
def test_money_beyond_all_bounds_is_refused_without_being_written_out(type, value):
    assert refusal(type, value).startswith("expected")


@pytest.mark.parametrize("value", [5, "5", Decimal("5"), Decimal("5.0"), Decimal("5e0")])
def test_a_whole_number_may_come_in_its_digits(value):
    assert (5, int) == (read(Count, value), type(read(Count, value)))


@pytest.mark.parametrize(
    "value", ["1_0", "٥", " 5", "5 ", "+5", "5.0", "", "x", None, True, 5.5, Decimal("5.5"), [], {}]
)
def test_anything_else_is_no_whole_number(value):
    assert refusal(DishId, value).startswith("expected a whole number, got")


@pytest.mark.parametrize("value", [Decimal("1e400"), 10**399, "9" * 19])
def test_a_whole_number_has_its_limits(value):
    assert "less than or equal to 10000" in refusal(Count, value)


@pytest.mark.parametrize("text", ["01.01.0001", "03.02.0999", "29.02.2000", "31.12.9999"])
def test_a_day_stays_as_it_came_whatever_its_year(text):
    class Dated(Wire):
        day: Day

    assert {"day": text} == Dated(day=text).model_dump()


@pytest.mark.parametrize(
    "value",
    ["1٣.02.2023", "03.02.٢٠٢٣", "3.2.2023", "31.02.2023", "00.01.2023", "01.01.0000", " 03.02.2023", "03.02.2023\n"],
)
def test_anything_else_is_no_day(value):
    assert refusal(Day, value).startswith("expected a day of the calendar as dd.MM.yyyy")


def test_the_first_of_all_days_is_a_day():
    assert date(1, 1, 1) == read(Day, "01.01.0001")


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (OrderRequest, {"dishs": [{}] * 340_000}, "dishs: expected 1 to 100 dishes, got a list"),
        (OrderIds, {"orderIds": [7] * 300_000}, "orderIds: expected 0 to 1000 orders, got a list"),
        (UserIds, ["x"] * 300_000, "expected 0 to 1000 ids, got a list"),
    ],
)
def test_a_list_that_is_too_long_is_refused_before_its_items_are_looked_at(model, body, text):
    assert text in refusal(model, body)


def test_wrong_fields_are_reported_up_to_a_number_and_counted_beyond():
    parts = refusal(OrderIds, {"orderIds": ["a b"] * 1000}).split("; ")
    assert (MOST_TOLD + 1, "and 980 more") == (len(parts), parts[-1])
    assert parts[0].startswith("orderIds.0: expected")


def test_a_long_value_is_shown_by_its_beginning():
    assert len(refusal(RoleChoice, {"name": "x" * 1_000_000})) < 250
