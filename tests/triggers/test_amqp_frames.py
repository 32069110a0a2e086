"""AMQP's frames by the short way: the same bytes as pika's, and the same message in them."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec

from triggers import amqp_frames
from triggers.amqp_frames import Confirmed, DeliveredMessage, Message

LARGEST = 1000
MESSAGES = st.builds(
    Message,
    exchange=st.sampled_from(["", "events"]),
    routing_key=st.sampled_from(["", "a.queue"]),
    headers=st.dictionaries(st.text("abc-é", max_size=40), st.text(st.characters(codec="utf-8"), max_size=80)),
    body=st.binary(min_size=1, max_size=LARGEST),
    content_type=st.text(st.characters(codec="utf-8"), max_size=60),
    id=st.text(st.characters(codec="utf-8"), max_size=60),
)
MESSAGE = Message("events", "", {"id": "1", "type": "a.b"}, b"{}", "application/json", "1")


def content(channel: int, properties: BasicProperties, body: bytes) -> bytes:
    parts = [frame.Header(channel, len(body), properties).marshal()]
    return b"".join([*parts, frame.Body(channel, body).marshal()] if body else parts)


def delivery(channel: int, tag: int, message: Message, **properties: Any) -> bytes:
    """What RabbitMQ sends, as pika would write it."""
    method = spec.Basic.Deliver("ctag1.c0ffee", tag, False, message.exchange, message.routing_key)
    made = message.properties()
    for name, value in properties.items():
        setattr(made, name, value)
    return frame.Method(channel, method).marshal() + content(channel, made, message.body)


@given(st.integers(1, 65535), MESSAGES)
def test_what_is_published_is_what_pika_would_write(channel, message):
    method = spec.Basic.Publish(exchange=message.exchange, routing_key=message.routing_key, mandatory=True)
    expected = frame.Method(channel, method).marshal() + content(channel, message.properties(), message.body)
    assert expected == amqp_frames.published(channel, message, LARGEST)


@pytest.mark.parametrize("multiple", [True, False])
@given(st.integers(1, 65535), st.integers(1, 2**64 - 1))
def test_an_acknowledgement_is_what_pika_would_write_and_is_read_as_one(multiple, channel, tag):
    expected = frame.Method(channel, spec.Basic.Ack(tag, multiple)).marshal()
    assert expected == amqp_frames.acknowledged(channel, tag, multiple)
    assert Confirmed(channel, tag, multiple, 1 + len(expected)) == amqp_frames.read(b"x" + expected + b"y", 1)


@given(st.integers(1, 65535), st.integers(1, 2**64 - 1), MESSAGES)
def test_what_is_delivered_is_what_was_published(channel, tag, message):
    data = delivery(channel, tag, message)
    expected = DeliveredMessage(
        channel, tag, message.headers, message.content_type, message.body, message.id, 1 + len(data)
    )
    assert expected == amqp_frames.read(b"x" + data + b"y", 1)


@pytest.mark.parametrize(
    "message",
    [
        Message("", "q", {"x-attempts": 1}, b"{}", "text/plain", "1"),
        Message("", "q", {}, b"{}", "text/plain", "1", expires=1000),
        Message("", "q", {}, b"", "text/plain", "1"),
        Message("", "q", {}, b"x" * (LARGEST + 1), "text/plain", "1"),
        Message("", "q", {}, b"{}", "text/plain", "1" * 256),
        Message("", "q", {}, b"{}", "é" * 128, "1"),
    ],
)
def test_what_is_unusual_is_left_to_pika(message):
    assert amqp_frames.published(1, message, LARGEST) is None


@pytest.mark.parametrize(
    "properties",
    [
        {"priority": 1},
        {"message_id": None},
        {"headers": None},
        {"headers": {"x-attempts": 1}},
        {"headers": {"x-death": [{"reason": "expired", "count": 2}]}},
    ],
)
def test_a_delivery_of_another_shape_is_left_to_pika(properties):
    assert amqp_frames.read(delivery(1, 1, MESSAGE, **properties), 0) is None


def test_a_delivery_whose_texts_are_none_is_left_to_pika():
    assert amqp_frames.read(delivery(1, 1, MESSAGE).replace(b"a.b", b"a\xffb"), 0) is None


def test_a_delivery_without_a_body_is_left_to_pika():
    message = Message("", "", {}, b"", "text/plain", "1")
    assert amqp_frames.read(delivery(1, 1, message) + delivery(1, 2, MESSAGE), 0) is None


def test_a_delivery_in_two_frames_of_data_is_left_to_pika():
    whole = delivery(1, 1, MESSAGE)
    parts = frame.Body(1, b"{").marshal() + frame.Body(1, b"}").marshal()
    assert amqp_frames.read(whole[: -len(frame.Body(1, b"{}").marshal())] + parts, 0) is None


def test_what_is_between_two_frames_of_a_delivery_is_left_to_pika():
    method = len(frame.Method(1, spec.Basic.Deliver("ctag1.c0ffee", 1, False, "events", "")).marshal())
    whole, other = delivery(1, 1, MESSAGE), frame.Method(2, spec.Basic.Ack(1, False)).marshal()
    assert amqp_frames.read(whole[:method] + other + whole[method:], 0) is None
    assert amqp_frames.read(whole[:method] + delivery(2, 1, MESSAGE)[method:], 0) is None


def test_what_is_not_all_there_is_left_to_wait():
    for whole in (delivery(1, 1, MESSAGE), amqp_frames.acknowledged(1, 1, False)):
        assert not [size for size in range(len(whole)) if amqp_frames.read(whole[:size], 0)]


@pytest.mark.parametrize("at", range(3))
def test_a_frame_that_does_not_end_where_it_says_is_left_to_pika(at):
    whole = bytearray(delivery(1, 1, MESSAGE))
    ends = [position for position, byte in enumerate(whole) if byte == amqp_frames.END]
    whole[ends[at]] = 0
    assert 3 == len(ends) and amqp_frames.read(bytes(whole), 0) is None


@pytest.mark.parametrize(
    "other",
    [
        frame.Heartbeat(),
        frame.Method(1, spec.Basic.Nack(1)),
        frame.Method(1, spec.Channel.CloseOk()),
        frame.Header(1, 2, BasicProperties()),
    ],
)
def test_every_other_frame_is_left_to_pika(other):
    assert amqp_frames.read(other.marshal(), 0) is None


def test_a_name_that_is_too_long_is_refused_as_pika_refuses_it():
    with pytest.raises((ValueError, struct.error)):
        amqp_frames.published(1, Message("", "q" * 256, {}, b"{}", "text/plain", "1"), LARGEST)
