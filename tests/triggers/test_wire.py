"""An event on its way between HTTP and RabbitMQ: nothing is lost or changed, and it looks as Knative's does."""

import base64
import json
import random
import string
from typing import Any

import pytest

from functions.shared.events import Unacceptable
from triggers import wire
from triggers.wire import WireEvent, message_of

PLAIN = {"specversion": "1.0", "id": "a1", "source": "/pay/sale", "type": "homework.arch.pay.sale"}
BINARY = {f"ce-{name}": value for name, value in PLAIN.items()} | {"Content-Type": "application/json"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = "application/cloudevents-batch+json"


def structured(**more: Any) -> WireEvent:
    return wire.from_http(STRUCTURED, json.dumps({**PLAIN, **more}).encode())


def over_rabbitmq(event: WireEvent) -> WireEvent:
    """The event as it comes out at the other side of the broker."""
    properties = message_of(event, "events").properties()
    return wire.from_amqp(properties.headers, properties.content_type, event.data)


def random_event(number: int) -> WireEvent:
    """An event of any kind; the same number always gives the same one."""
    dice = random.Random(number)
    text = string.ascii_letters + string.digits + "éЖ漢 -_/:;%\"'\\{}"
    attributes = {
        **PLAIN,
        "id": f"id-{dice.randrange(10**9)}",
        "time": f"2026-11-{dice.randrange(1, 29):02}T12:00:00.{dice.randrange(1000):03}Z",
        "datacontenttype": dice.choice(["application/json", "application/vnd.x+json; charset=utf-8"]),
    }
    for n in range(dice.randrange(5)):
        attributes[f"ext{n}"] = "".join(dice.choices(text, k=dice.randrange(1, 30)))
    value = {"n": dice.randrange(10**6), "text": "".join(dice.choices(text, k=20)), "list": [None, True, 1.5]}
    return WireEvent(attributes, json.dumps(value, ensure_ascii=dice.random() < 0.5).encode())


# -- in -------------------------------------------------------------------------------------------------------------


def test_binary_mode_gives_the_attributes_and_the_bytes_as_they_came():
    event = wire.from_http({**BINARY, "CE-Subject": "order-1", "X-Other": "no"}, b'{"amount": 39.00}')
    assert {**PLAIN, "subject": "order-1", "datacontenttype": "application/json"}.items() <= event.attributes.items()
    assert b'{"amount": 39.00}' == event.data
    assert "other" not in event.attributes


def test_structured_mode_gives_the_same_event_as_binary_mode():
    binary = wire.from_http({**BINARY, "ce-time": "2026-11-23T12:00:00Z"}, b'{"a":1}')
    assert binary == structured(time="2026-11-23T12:00:00Z", data={"a": 1})


def test_base64_data_arrives_as_the_bytes_that_it_stands_for():
    event = structured(datacontenttype="image/png", data_base64=base64.b64encode(b"\x89PNG\x00").decode())
    assert b"\x89PNG\x00" == event.data
    assert "image/png" == event.content_type


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (True, "true"), ("x", "x")])
def test_an_extension_that_is_no_text_becomes_its_json(value, text):
    assert text == structured(myextension=value)["myextension"]


def test_an_attribute_that_is_null_is_not_there():
    assert structured(subject=None).get("subject") is None


def test_an_event_without_data_has_none():
    assert b"" == structured().data == structured(data=None).data


def test_a_time_is_always_there():
    assert structured()["time"].endswith("Z")
    assert "2020-01-01T00:00:00Z" == structured(time="2020-01-01T00:00:00Z")["time"]


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_a_required_attribute_that_is_missing_is_named(name):
    headers = {key: value for key, value in BINARY.items() if key != f"ce-{name}"}
    with pytest.raises(Unacceptable, match=r"expected one CloudEvent|" + name + ": expected a value, got nothing"):
        wire.from_http(headers, b"{}")
    with pytest.raises(Unacceptable, match=f"{name}: expected a value, got nothing"):
        structured(**{name: None})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"specversion": "0.3"}, "specversion: expected 1.0, got 0.3"),
        ({"id": "a b"}, "id: expected printable ASCII without blanks, quotes or percent signs, got 'a b'"),
        ({"source": "/é"}, "source: expected printable ASCII"),
        ({"type": 'a"b'}, "type: expected printable ASCII"),
        ({"subject": "100%"}, "subject: expected printable ASCII"),
        ({"id": "x" * 256}, "id: expected at most 255 bytes, got 256"),
        ({"datacontenttype": "x" * 256}, "datacontenttype: expected at most 255 bytes, got 256"),
        ({"subject": "x" * 513}, "subject: expected printable ASCII"),
        ({"note": "Ж" * 1351}, "note: expected at most 2700 bytes, got 2702"),
        ({f"n{n}": "x" for n in range(40)}, "expected at most 40 attributes, got 45"),
        ({"my_extension": "x"}, "'my_extension': expected a name of lower-case letters and digits"),
        ({"Upper": "x"}, "'Upper': expected a name of lower-case letters and digits"),
        ({"data_base64": "%%%"}, "data_base64: expected base64, got something else"),
        ({"data_base64": 5}, "data_base64: expected base64, got something else"),
        ({"note": 1.5}, "note: expected a text, a whole number, true or false"),
        ({"note": [1]}, "note: expected a text, a whole number, true or false"),
        ({"note": {}}, "note: expected a text, a whole number, true or false"),
        ({"note": "\ud800"}, "expected JSON, got something else: a text has one half of a surrogate pair"),
    ],
)
def test_what_is_wrong_with_an_event_is_reported(changes, text):
    with pytest.raises(Unacceptable, match="(?s)" + text.replace("'", ".")):
        structured(**changes)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "expected a CloudEvent as a JSON object, got list"),
        (b"{", "expected JSON, got something else"),
        (b"", "expected JSON, got something else"),
        (b"\xff\xfe", "expected JSON, got something else"),
        (b'{"id": NaN}', "expected JSON, got something else"),
        (b"[" * 100_000, "expected JSON, got something else"),
        (b'{"data":"\\ud800"}', "expected JSON, got something else: a text has one half"),
        (b'{"data":1e99999999999999999999}', "expected JSON, got something else: a number"),
    ],
)
def test_a_structured_body_that_is_no_event_is_refused(body, text):
    with pytest.raises(Unacceptable, match=text):
        wire.from_http(STRUCTURED, body)


def test_a_batch_has_its_limit():
    items = b",".join([b"{}"] * 1001)
    with pytest.raises(Unacceptable, match="expected at most 1000 events in a batch, got 1001"):
        wire.from_batch(b"[" + items + b"]")


def test_a_refusal_shows_no_more_than_the_beginning_of_a_name():
    with pytest.raises(Unacceptable) as raised:
        structured(**{"x" * 100_000: "x"})
    assert len(str(raised.value)) < 200


def test_a_request_that_is_no_event_is_answered_with_both_ways_to_send_one():
    with pytest.raises(
        Unacceptable, match=r"in binary mode .* or as application/cloudevents\+json; got .* text/plain"
    ):
        wire.from_http({"Content-Type": "text/plain"}, b"hello")


# -- on RabbitMQ ----------------------------------------------------------------------------------------------------


def test_a_message_looks_as_knatives_broker_writes_it():
    event = wire.from_http({**BINARY, "ce-subject": "o1", "ce-time": "2026-11-23T12:00:00Z"}, b"{}")
    message = message_of(event, "events")
    assert {
        **PLAIN,
        "subject": "o1",
        "time": "2026-11-23T12:00:00Z",
        "content-type": "application/json",
    } == message.headers
    properties = message.properties()
    assert ("a1", "application/json", 2) == (properties.message_id, properties.content_type, properties.delivery_mode)
    assert (None, None, None) == (properties.type, properties.timestamp, properties.correlation_id)
    assert ("events", "", b"{}") == (message.exchange, message.routing_key, message.body)


def test_attempts_are_counted_in_the_message_and_are_no_attribute():
    event = WireEvent({**PLAIN, "time": "t"}, b"{}", attempts=3)
    assert 3 == wire.to_amqp_headers(event)["x-attempts"]
    assert 3 == over_rabbitmq(event).attempts
    assert "x-attempts" not in over_rabbitmq(event).attributes
    assert "x-attempts" not in wire.to_amqp_headers(WireEvent(PLAIN))


@pytest.mark.parametrize("nonsense", ["three", None, b"3"])
def test_a_number_of_attempts_that_is_none_counts_as_none(nonsense):
    assert 0 == wire.from_amqp({**PLAIN, "x-attempts": nonsense}, "application/json", b"").attempts


def test_prefixed_attributes_are_read_too():
    headers = {f"CE-{name}": value for name, value in PLAIN.items()}
    assert PLAIN.items() <= wire.from_amqp(headers, "application/json", b"{}").attributes.items()


def test_what_knative_drops_is_dropped():
    headers = {**PLAIN, "x-death": [1], "x-other": "x", "traceparent": "00-1", "tracestate": ""}
    assert {*PLAIN, "time", "datacontenttype"} == set(wire.from_amqp(headers, None, b"{}").attributes)


def test_a_structured_message_is_recognised():
    body = json.dumps({**PLAIN, "data": {"a": 1}}).encode()
    event = wire.from_amqp({"x-attempts": 2}, "application/cloudevents+json; charset=utf-8", body)
    assert ("a1", b'{"a":1}', 2) == (event["id"], event.data, event.attempts)


def test_headers_of_other_types_become_text():
    event = wire.from_amqp({**PLAIN, "count": 5, "flag": True}, None, b"")
    assert ("5", "true") == (event["count"], event["flag"])


@pytest.mark.parametrize("headers", [None, {}, {"id": "x"}, {**PLAIN, "foo_bar": "x"}])
def test_a_message_that_is_no_event_is_refused(headers):
    with pytest.raises(Unacceptable):
        wire.from_amqp(headers, "application/json", b"{}")


# -- out ------------------------------------------------------------------------------------------------------------


def test_binary_mode_out_is_binary_mode_in():
    event = wire.from_http({**BINARY, "ce-time": "t"}, b'{"amount":0.10}')
    assert (BINARY | {"ce-time": "t"}, b'{"amount":0.10}') == wire.to_http(event)


def test_a_header_carries_what_http_could_not():
    event = structured(note="Жар%птица\nна хвосте ")
    headers, _ = wire.to_http(event)
    assert headers["ce-note"].isascii() and headers["ce-note"].isprintable()
    assert event["note"] == wire.from_http(headers, b"")["note"]


def test_a_batch_carries_all_events_and_their_data_untouched():
    events = [structured(id=f"e{n}", data={"n": n}) for n in range(3)]
    headers, body = wire.to_batch(events)
    assert {"Content-Type": BATCH} == headers
    assert events == wire.replies_from_http(200, headers, body)


@pytest.mark.parametrize(
    ("content_type", "data", "expected"),
    [
        ("application/json", b"{}", True),
        ("application/json", b"", False),
        ("application/vnd.x+json; charset=utf-8", b"1", True),
        ("text/plain", b"1", False),
    ],
)
def test_only_data_that_says_it_is_json_may_stand_in_a_batch(content_type, data, expected):
    assert expected is WireEvent({**PLAIN, "datacontenttype": content_type}, data).is_json


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (204, BINARY, b"{}"),
        (200, BINARY, b""),
        (200, {}, b"OK"),
        (200, {"Content-Type": "application/json"}, b"{}"),
        (200, {"Content-Type": BATCH}, b"[]"),
    ],
)
def test_an_answer_without_an_event_is_no_reply(status, headers, body):
    assert [] == wire.replies_from_http(status, headers, body)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": BATCH}, b"{"),
        ({"Content-Type": BATCH}, b"[5]"),
        ({"Content-Type": BATCH}, b"5"),
        (STRUCTURED, b"{}"),
        ({"ce-specversion": "1.0"}, b"{}"),
    ],
)
def test_half_an_event_is_no_reply_either_and_is_reported(headers, body):
    with pytest.raises(Unacceptable):
        wire.replies_from_http(200, headers, body)


# -- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["39.00", "0.10", "9999999999.99", "-0.00", "1", "12345678901234567890.12"])
def test_money_keeps_its_places_on_every_road(amount):
    data = f'{{"amount":{amount}}}'.encode()
    head = json.dumps(PLAIN)[:-1].encode()
    came_structured = wire.from_http(STRUCTURED, head + b',"data":' + data + b"}")
    for event in (wire.from_http(BINARY, data), came_structured):
        arrived = over_rabbitmq(event)
        assert data == wire.to_http(arrived)[1]
        headers, batch = wire.to_batch([arrived, arrived])
        assert [data, data] == [reply.data for reply in wire.replies_from_http(200, headers, batch)]


@pytest.mark.parametrize("number", range(60))
def test_any_event_comes_back_as_it_went(number):
    event = random_event(number)
    assert event == over_rabbitmq(event)
    assert event == wire.from_http(*wire.to_http(event))
    (back,) = wire.replies_from_http(200, *wire.to_batch([event]))
    assert event.attributes == back.attributes
    assert json.loads(event.data) == json.loads(back.data)
