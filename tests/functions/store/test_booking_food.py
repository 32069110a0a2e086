"""Whose prices bind: by default the client's amount is paid; with PRICES=store the menu's, with its own discounts."""

import pytest

from functions.store.booking_food import booking_food
from tests.kit import event, send

# One of dish 1 at 39.00, less 3.00; two of dish 4 at 15.00.
DISHES = [{"menuId": 1, "count": 1}, {"menuId": 4, "count": 2}]


@pytest.fixture
def store(admin, become):
    become("store")
    admin.rows("DELETE FROM store.bookings")
    admin.rows("DELETE FROM store.reservations")
    admin.rows("UPDATE store.dishes SET in_stock = opening_stock, discount = CASE id WHEN 1 THEN 3 ELSE 0 END")
    return admin


def booked(amount: float, discount: float, dishs: list = DISHES) -> str:
    facts = {"amount": amount, "discount": discount, "dishs": dishs}
    return send(booking_food, event("store.bookingFood", "x", data_=facts)).json["storeStatus"]


@pytest.mark.parametrize(
    ("amount", "discount", "status"),
    [
        (66, 3, "Ok"),
        (69, 0, "WrongPrice"),
        (66, 0, "WrongPrice"),
        (69, 3, "WrongPrice"),
        (65.99, 3.01, "WrongPrice"),
        (0.01, 68.99, "WrongPrice"),
        (66.01, 2.99, "WrongPrice"),
    ],
)
def test_where_the_stores_prices_bind_no_other_amount_and_no_other_discount_is_taken(
    store, settings, amount, discount, status
):
    settings(PRICES="store")
    assert status == booked(amount, discount)
    held = "SELECT count(*) FROM store.bookings"
    assert (2 if status == "Ok" else 0) == store.value(held)


def test_all_dishes_are_reserved_or_none(store):
    stock = "SELECT sum(in_stock) FROM store.dishes"
    before = store.value(stock)
    assert "NotAvailable" == booked(66, 0, [{"menuId": 1, "count": 11}, {"menuId": 4, "count": 1}])
    assert before == store.value(stock)


@pytest.mark.usefixtures("store")
def test_a_dish_on_two_lines_costs_twice(settings):
    settings(PRICES="store")
    assert "Ok" == booked(72, 6, [{"menuId": 1, "count": 1}] * 2)


@pytest.mark.usefixtures("store")
def test_by_default_the_clients_amount_is_taken_as_it_is():
    assert "Ok" == booked(0.01, 92.99)


def test_what_was_booked_keeps_price_and_discount(store, settings):
    settings(PRICES="store")
    booked(66, 3)
    rows = store.rows("SELECT dish_id, price, discount FROM store.bookings ORDER BY 1")
    assert [(1, 39, 3), (4, 15, 0)] == [tuple(row) for row in rows]
    assert store.value("SELECT prices_bind FROM store.reservations") is True
