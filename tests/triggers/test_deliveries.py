"""What is delivered and not acknowledged yet: by one word where possible; and what is begun before its delivery."""

import pytest

from triggers import deliveries
from triggers.amqp_frames import DeliveredMessage, Message
from triggers.deliveries import Consumer, Delivery


class FakeChannel:
    """Writes down what it is told."""

    is_open = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, bool]] = []

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.sent.append(("ack", tag, multiple))

    def basic_nack(self, tag: int, multiple: bool = False, requeue: bool = False) -> None:
        assert requeue
        self.sent.append(("nack", tag, multiple))


HEADERS = {"type": "homework.arch.test.one", "id": "a"}


def delivered(
    tag: int, id: str = "a", body: bytes = b"{}", headers: dict[str, str] | None = None
) -> DeliveredMessage:
    return DeliveredMessage(1, tag, headers or HEADERS, "application/json", body, id, 0)


def message(id: str = "a") -> Message:
    return Message("x", "", HEADERS, b"{}", "application/json", id)


def consumer_of(*tags: int, prefetch: int = 100) -> Consumer:
    made = Consumer(FakeChannel(), prefetch)
    for tag in tags:
        made.delivered(delivered(tag))
    return made


@pytest.mark.parametrize(
    ("dealt_with", "expected"),
    [
        ([1, 2, 3], [("ack", 3, True)]),
        ([2, 1], [("ack", 2, True)]),
        ([1], [("ack", 1, True)]),
        ([1, 2, 3, 4, 5], [("ack", 5, True)]),
        ([2, 3], [("ack", 2, False), ("ack", 3, False)]),
        ([1, 3], [("ack", 1, False), ("ack", 3, False)]),
        ([9], []),
        ([], []),
    ],
)
def test_the_oldest_that_are_open_are_acknowledged_by_one_word_and_others_each(dealt_with, expected):
    consumer = consumer_of(1, 2, 3, 4, 5)
    consumer.acknowledge(dealt_with)
    assert expected == consumer.channel.sent


def test_what_is_acknowledged_or_given_back_already_is_not_acknowledged_again():
    consumer = consumer_of(1, 2, 3)
    consumer.give_back([1])
    consumer.acknowledge([1, 2])
    consumer.acknowledge([2])
    consumer.give_back([2])
    assert [("nack", 1, False), ("ack", 2, True)] == consumer.channel.sent


def test_what_was_given_back_holds_up_no_single_word_for_the_others():
    consumer = consumer_of(1, 2, 3)
    consumer.give_back([2])
    consumer.acknowledge([1, 3])
    assert [("nack", 2, False), ("ack", 3, True)] == consumer.channel.sent


def test_on_a_channel_that_is_gone_nothing_is_acknowledged():
    consumer = consumer_of(1, 2)
    consumer.channel.is_open = False
    consumer.acknowledge([1])
    consumer.give_back([2])
    assert [] == consumer.channel.sent
    assert Delivery(consumer, 1, None, None, b"").is_stale


# -- what is begun ahead --------------------------------------------------------------------------------------------


def test_the_copy_of_what_was_begun_ahead_brings_its_tag():
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    assert (None, HEADERS, b"{}") == (begun.tag, begun.headers, begun.body)
    assert begun is consumer.delivered(delivered(7))
    assert 7 == begun.tag and not begun.is_stale
    consumer.acknowledge([7])
    assert [("ack", 7, True)] == consumer.channel.sent


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"body": b"[]"}, id="another body"),
        pytest.param({"headers": HEADERS | {"subject": "o"}}, id="another attribute"),
        pytest.param({"id": "b"}, id="another id"),
    ],
)
def test_a_message_that_is_not_the_same_is_a_delivery_of_its_own(other):
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    assert begun is not consumer.delivered(delivered(1, **other))
    assert begun is consumer.delivered(delivered(2))


@pytest.mark.parametrize(("count", "is_copy"), [(0, True), (1, False)])
def test_only_the_first_delivery_of_a_quorum_queue_is_the_copy(count, is_copy):
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    came = consumer.delivered(delivered(1, headers=HEADERS | {"x-delivery-count": count}))
    assert is_copy == (came is begun)


def test_a_second_copy_is_a_delivery_of_its_own():
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    assert begun is consumer.delivered(delivered(1))
    assert begun is not consumer.delivered(delivered(2))


def test_what_is_begun_already_is_waited_for_when_it_comes_once_more():
    consumer = consumer_of()
    assert consumer.begin_ahead(message())
    assert None is consumer.begin_ahead(message())


def test_nothing_is_begun_ahead_of_what_may_wait_in_the_queue():
    consumer = consumer_of(1, 2, prefetch=4)
    assert [True, True, False] == [consumer.begin_ahead(message(id)) is not None for id in "abc"]
    consumer.acknowledge([1])
    assert consumer.begin_ahead(message("c"))


def test_on_a_channel_that_is_gone_nothing_is_begun_and_what_was_begun_is_stale():
    consumer = consumer_of()
    begun = consumer.begin_ahead(message("a"))
    consumer.channel.is_open = False
    assert begun.is_stale
    assert None is consumer.begin_ahead(message("b"))


def test_what_is_forgotten_is_stale_and_its_copy_a_delivery_like_any_other():
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    consumer.forget(begun)
    assert begun.is_stale
    assert begun is not consumer.delivered(delivered(1))
    # By now it is delivered: nothing is left to forget.
    other = consumer.begin_ahead(message())
    consumer.delivered(delivered(2))
    consumer.forget(other)
    assert not other.is_stale


def test_an_equal_message_long_after_is_no_copy_of_what_is_dealt_with(monkeypatch):
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    begun.is_dealt_with = True
    monkeypatch.setattr(deliveries, "COPY_WITHIN", -1)
    assert begun is not consumer.delivered(delivered(1))


def test_what_takes_long_is_still_the_message_that_its_copy_is_of(monkeypatch):
    consumer = consumer_of()
    begun = consumer.begin_ahead(message())
    monkeypatch.setattr(deliveries, "COPY_WITHIN", -1)
    assert begun is consumer.delivered(delivered(1))


def test_copies_that_never_come_take_nobodys_place(monkeypatch):
    consumer = consumer_of(prefetch=2)
    lost = [consumer.begin_ahead(message(id)) for id in "ab"]
    assert None is consumer.begin_ahead(message("c"))
    monkeypatch.setattr(deliveries, "COPY_WITHIN", -1)
    assert consumer.begin_ahead(message("c"))
    assert [True, True] == [each.is_stale for each in lost]
