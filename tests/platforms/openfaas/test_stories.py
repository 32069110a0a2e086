"""The stories of whole orders, the same ones as everywhere, through OpenFaaS' gateway in both profiles."""

# ruff: noqa: F401 - pytest finds them here, and plays them on the stage of this folder
from tests.stories.test_completed import (
    test_a_dish_that_is_named_twice_is_reserved_in_one,
    test_an_order_is_paid_cooked_delivered_and_notified,
)
from tests.stories.test_couriers_busy import test_without_a_courier_food_and_money_go_back
from tests.stories.test_dish_sold_out import test_all_dishes_are_reserved_or_none
from tests.stories.test_no_money import test_without_money_nothing_is_paid_reserved_or_delivered
