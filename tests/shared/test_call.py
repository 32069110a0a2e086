"""Calls of other functions."""

from decimal import Decimal

import pytest

from functions.shared import call as calls
from tests.fakes import FakeFunction


@pytest.mark.parametrize(
    ("answer", "text"),
    [((500, b""), "answered 500"), ((200, b"x"), "did not answer with JSON"), (None, "be reached")],
)
def test_a_call_that_gave_no_good_answer_is_reported(settings, answer, text):
    fake = FakeFunction(lambda _: (answer[0], {}, answer[1]))
    settings(FUNCTION_URL=fake.url + "/{name}")
    if answer:
        fake.start()
    with pytest.raises(calls.CallFailed, match=text):
        calls.call("some-function", {"amount": Decimal("1.50")})
    fake.stop()
    assert [("/some-function", b'{"amount":1.50}')] * len(fake.calls) == [(one.path, one.body) for one in fake.calls]


def test_an_address_may_name_the_owner(settings):
    settings(FUNCTION_URL="http://{owner}.food/function/{name}", FUNCTION_URLS="")
    assert "http://billing.food/function/billing-internal-add" == calls.address("billing-internal-add")
