"""CloudEvents over HTTP: what is read and written here is what the SDK would have read and written."""

from typing import Any

import pytest
from cloudevents.conversion import to_binary, to_dict
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

from functions.shared import exact_json
from functions.shared.events import STRUCTURED, Unacceptable, from_request, make, reply, to_text
from functions.shared.request import Headers, Request

BINARY = {"ce-specversion": "1.0", "ce-id": "a1", "ce-source": "/pay/sale", "ce-type": "a.b"}
TIME = {"ce-time": "2026-11-23T12:00:00Z"}
JSON = {"Content-Type": "application/json"}


def ours(headers: dict[str, str], body: bytes) -> CloudEvent | None:
    """What is read from a request here; None where it is refused."""
    try:
        ((event,), _) = from_request(Request("POST", "/", Headers.of(headers.items()), body))
    except Unacceptable:
        return None
    return event


def theirs(headers: dict[str, str], body: bytes) -> CloudEvent | None:
    """What the SDK reads from the same request."""
    try:
        return from_http(headers, body, exact_json.loads)
    except GenericException:
        return None


def without(name: str) -> dict[str, str]:
    return {known: value for known, value in (BINARY | TIME).items() if known != name}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (BINARY | TIME | JSON, b'{"amount": 39.00}'),
        (BINARY | TIME, b"[1, null]"),
        (BINARY | TIME | {"CE-Subject": "o1", "Ce-CorrelationId": "o1", "X-Other": "no"} | JSON, b"{}"),
        (BINARY | TIME | {"Content-Type": "application/vnd.x+json; charset=utf-8"}, '{"a": "Ж"}'.encode()),
        (BINARY | TIME | {"ce-note": "50% of two  words"} | JSON, b"1"),
        (BINARY | TIME | {"ce-data": "no attribute"} | JSON, b"{}"),
        (BINARY | TIME | {"ce-specversion": "7"} | JSON, b"{}"),
        (BINARY | TIME | JSON, b""),
        (BINARY | TIME | JSON, b"{"),
        (BINARY | TIME | JSON, b"\xff"),
        *((without(name) | JSON, b"{}") for name in BINARY),
    ],
)  # fmt: skip
def test_an_event_in_binary_mode_is_read_as_the_sdk_reads_it(headers, body):
    assert theirs(headers, body) == ours(headers, body)


def test_an_event_without_a_time_gets_one():
    assert ours(BINARY | JSON, b"{}")["time"]


def made(data: Any) -> CloudEvent:
    return make(type="a.b", source="/pay/sale", id="i1", subject="o1", causation="i0", data=data)


@pytest.mark.parametrize("data", [{}, {"amount": 1, "text": "Ж", "list": [None, True]}])
def test_an_event_is_written_as_the_sdk_writes_it(data):
    event = made(data)
    body, status, headers = reply([event], batched=False)
    sent, text = to_binary(event, exact_json.dumps)

    assert 200 == status
    assert (Headers.of(sent.items()), text) == (Headers.of(headers.items()), body.encode())
    assert exact_json.dumps(to_dict(event)) == to_text(event)


def test_what_is_written_in_one_mode_is_read_in_the_other():
    event = made({"amount": 1})
    body, _, headers = reply([event], batched=False)

    assert event == ours(headers, body.encode())
    assert event == ours({"Content-Type": STRUCTURED}, to_text(event).encode())
