"""The menu: dishes, prices, stock."""

import pytest

from tests.clients import order_of
from tests.functions.paths import ENVELOPE, MENU, ORDER

FIELDS = ["menuId", "name", "description", "weight", "price", "discount", "inStock"]


def test_the_menu_shows_every_dish_with_its_price(ask, guest):
    answer = ask(MENU, guest, {})
    assert list(answer.json) == [*ENVELOPE, "dishs"]
    dishes = [dish for dish in answer.json["dishs"] if dish["menuId"] <= 5]
    assert [list(dish) for dish in dishes] == [FIELDS] * 5
    assert [(dish["menuId"], dish["name"], dish["price"], dish["weight"]) for dish in dishes] == [
        (1, "Дорадо на мангале", 39.0, 375),
        (2, "Люля-кебаб из телятины", 26.0, 245),
        (3, "Люля-кебаб из ягненка", 26.0, 235),
        (4, "Овощи на мангале", 15.0, 172),
        (5, "Шашлык рибай из молочного ягнёнка", 29.0, 295),
    ]
    assert all(dish["description"] for dish in dishes)
    assert '"price":39.00,"discount":0.00,"inStock":' in answer.text


@pytest.mark.usefixtures("restocked")
def test_the_menu_shows_what_is_left(ask, new_user, ended):
    user = new_user(balance=100)
    before = {dish["menuId"]: dish["inStock"] for dish in ask(MENU, user, {}).json["dishs"]}
    ended(user, ask(ORDER, user, order_of(user)).json["orderId"])
    after = {dish["menuId"]: dish["inStock"] for dish in ask(MENU, user, {}).json["dishs"]}
    assert {id: before[id] - after[id] for id in (1, 2, 3, 4, 5)} == {1: 2, 2: 0, 3: 0, 4: 1, 5: 0}
