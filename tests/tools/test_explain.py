"""The command that explains the chain and its events."""

import pytest

from schemas.events import ALL
from tests.processes import run
from tools import explain
from triggers.stack import Unknown


def test_explain_answers_what_happens_when_billing_says_no():
    output = explain.explain("billing.withdraw")

    assert "billing-withdraw, functions/billing/withdraw.py" in output
    assert "payStatus: NotEnoughMoney, ClientNotFound" in output
    assert "writes:     billing.charges, billing.clients, billing.movements" in output
    assert "undone by:  functions/billing/refund.py" in output
    assert "make inject event=billing.withdraw" in output


@pytest.mark.parametrize("event_type", ALL)
def test_explain_knows_every_event_in_full_and_short(event_type):
    done = explain.explain(event_type)

    assert done.startswith(f"homework.arch.{event_type}\n")
    assert f"make inject event={event_type}" in done


def test_explain_knows_both_ways_that_a_courier_leads_to():
    assert "answers:    order.result\n            store.cancelBookingFood\n" in explain.explain(
        "delivery.bookingCourier"
    )


def test_explain_without_an_event_shows_the_chain_in_order():
    lines = explain.chain().splitlines()[1:]

    assert [line.split()[0] for line in lines] == list(ALL)


def test_explain_lists_the_events_that_there_are():
    with pytest.raises(Unknown, match=r"billing\.refund, billing\.withdraw.*; got billing\.gift"):
        explain.explain("billing.gift")


def test_explain_ends_with_2_for_an_unknown_event():
    done = run("tools.explain", "billing.gift")

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
