"""Orders that are to end in one way only, and the scenarios that send them."""

import json
import random
from datetime import date
from itertools import islice

import pytest

from tools.bench import course
from tools.bench.orders import Book, Guest, Outcome, Slot, Supplies, order, parsed_mix, slots
from tools.bench.scenarios import Pace, arrival_times


def supplies() -> Supplies:
    free = slots(Slot(date(3000, 1, 1), 0))
    return Supplies([Guest("rich", "")], [Guest("poor", "")], [1, 2], 9, next(free), free)


@pytest.mark.parametrize(
    ("outcome", "guest", "dishes", "busy"),
    [
        (Outcome.COMPLETED, "rich", {1, 2}, False),
        (Outcome.NO_MONEY, "poor", {1, 2}, False),
        (Outcome.SOLD_OUT, "rich", {9}, False),
        (Outcome.BUSY, "rich", {1, 2}, True),
    ],
)
def test_an_order_can_end_in_one_way_only(outcome: Outcome, guest: str, dishes: set[int], busy: bool):
    body = json.loads(order(supplies(), outcome, "1", random.Random()).body)

    assert guest == body["userName"]
    assert {dish["menuId"] for dish in body["dishs"]} <= dishes
    assert busy == ((body["deliveryDate"], body["deliveryHour"]) == ("01.01.3000", 0))


def test_no_hour_comes_twice():
    found = list(islice(slots(Slot(date(3000, 2, 28), 22)), 50))

    assert 50 == len(set(found))
    assert Slot(date(3000, 3, 1), 0) == found[2]


def test_a_book_follows_its_mix():
    book = Book(supplies(), {Outcome.COMPLETED: 50, Outcome.BUSY: 50}, "tag")

    meant = [book.next() for _ in range(200)]

    assert {Outcome.COMPLETED, Outcome.BUSY} == {each.outcome for each in meant}
    assert 200 == len({each.msg_id for each in meant})


def test_a_mix_is_typed_by_names():
    assert {Outcome.COMPLETED: 90, Outcome.NO_MONEY: 10} == parsed_mix("completed=90,no-money=10")
    with pytest.raises(ValueError, match="expected some of completed, no-money, sold-out, busy; got happy"):
        parsed_mix("happy=100")
    with pytest.raises(ValueError, match="above 0"):
        parsed_mix("completed=0")


def test_a_kind_stands_for_its_known_scenarios_and_any_number_will_do():
    assert ["closed-1", "closed-4", "closed-16", "closed-64"] == course.chosen("closed", False)
    assert ["burst-7", "cold-start"] == course.chosen("burst-7,cold-start", False)
    with pytest.raises(ValueError, match="expected burst-N"):
        course.chosen("storm", False)


def test_all_is_more_than_the_usual():
    assert {"burst-20000", "closed-4"} == set(course.chosen(None, True)) - set(course.chosen(None, False))


def test_before_an_open_loop_the_maximum_is_found_out():
    assert ["closed-64", "open-50"] == course.with_maximum(["open-50"])
    assert ["closed-64", "open-50"] == course.with_maximum(["open-50", "closed-64"])
    assert ["burst-9", "open-50"] == course.with_maximum(["burst-9", "open-50"])
    assert ["closed-1"] == course.with_maximum(["closed-1"])


def test_arrivals_come_at_the_given_rate():
    times = list(arrival_times(Pace(100, 50)))

    assert 5000 == pytest.approx(len(times), rel=0.05)
    assert times == sorted(times)
