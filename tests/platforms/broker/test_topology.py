"""The names are those that Knative's own code makes; these were printed by it."""

import pytest

from tests.platforms.broker.topology import child_name

UID = "e5b1c0de-0000-4000-8000-00000000000a"


@pytest.mark.parametrize(
    ("parent", "name"),
    [
        ("t.food.pay-sale.", f"t.food.pay-sale.{UID}"),
        ("t.food.order-new-order.dlq.", f"t.food.order-new-order.dlq.{UID}"),
        ("t.food.delivery-booking-courier.dlx.", "t.food.delivery-booking-courier0b8e10e913fd65dadb79f17ff24a1994"),
    ],
)
def test_a_name_that_is_too_long_ends_with_a_hash(parent, name):
    assert name == child_name(parent, UID)
