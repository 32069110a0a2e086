"""The stories of whole orders, the same ones as everywhere, on Knative's ingress and dispatchers."""

# ruff: noqa: F401 - pytest finds them here, and plays them on the stage of this folder
from tests.stories.conftest import Stage
from tests.stories.test_completed import (
    test_a_dish_that_is_named_twice_is_reserved_in_one,
    test_an_order_is_paid_cooked_delivered_and_notified,
)
from tests.stories.test_couriers_busy import test_without_a_courier_food_and_money_go_back
from tests.stories.test_dish_sold_out import test_all_dishes_are_reserved_or_none
from tests.stories.test_no_money import (
    test_without_an_account_the_payment_is_an_error,
    test_without_money_nothing_is_paid_reserved_or_delivered,
)
from tests.stories.test_no_such_dish import test_an_unknown_dish_cancels_the_order_and_the_money_is_back
from tests.stories.test_same_message import (
    test_the_same_message_a_hundred_times_at_once_is_one_order,
    test_the_same_message_twice_is_one_order,
)


def test_their_logs_do_not_say_who_ordered_what(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    order = stage.order(guest, stage.body(guest, dish))
    assert stage.settled(order) == ["Completed"]

    logs = stage.system.plane.logs()
    assert [guest.username in logs, guest.email in logs, str(dish) in logs] == [False, False, False]
