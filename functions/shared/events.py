"""CloudEvents in and out of HTTP: binary and structured one at a time, batched many at a time.

An event is the SDK's, which checks it. Its modes are written and read here: the SDK takes as long for that as a step
for all the rest. A test compares what comes of both. The modes: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

import base64
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent

from functions.shared import exact_json
from functions.shared.answers import JSON, Answer
from functions.shared.request import Request, Unacceptable

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"
# Derived ids live in a namespace of their own; the value is arbitrary and must never change.
IDS = uuid.UUID("6f1d3c1a-7f0e-4d53-9d5b-3a2f6f0f8a11")
# Header values travel unencoded through Knative's broker: printable ASCII without blank, quote, percent.
PLAIN = re.compile(r"[!#$&-~]{1,512}")

# More come as several batches: a sender needs no more, and what a batch takes is bounded.
LARGEST_BATCH = 1000
SHOWN = 80


def derived_id(*parts: str) -> str:
    """The same parts always give the same id: a repeated cause is recognised by everyone downstream."""
    return str(uuid.uuid5(IDS, "\n".join(parts)))


def make(*, type: str, source: str, id: str, subject: str, causation: str, data: dict[str, Any]) -> CloudEvent:
    """A CloudEvent of this system; `correlationid` is the saga, which is its subject."""
    attributes = {
        "specversion": "1.0",
        "type": type,
        "source": source,
        "id": id,
        "subject": subject,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": JSON,
        "correlationid": subject,
        "causationid": causation,
    }
    return CloudEvent(attributes, data)


def to_text(event: CloudEvent) -> str:
    """One event in structured form."""
    return exact_json.dumps({**event.get_attributes(), "data": event.data})


def from_text(text: str | bytes) -> CloudEvent:
    """Read one event in structured form. Raises Unacceptable."""
    return _from_object(_json(text), exact_json.loads)


def from_request(request: Request, any_data: bool = False) -> tuple[list[CloudEvent], bool]:
    """The events of a request, and whether they came as a batch. Raises Unacceptable.

    With `any_data` bytes stay bytes (in binary mode, and data_base64), whatever they say that they are.
    """
    read_data = _as_it_is if any_data else exact_json.loads
    if request.mimetype == BATCH:
        items = _json(request.body)
        if not isinstance(items, list):
            raise Unacceptable("expected a JSON list of CloudEvents, as batched mode has it")
        if len(items) > LARGEST_BATCH:
            raise Unacceptable(f"expected at most {LARGEST_BATCH} events in a batch, got {len(items)}")
        return [_from_object(item, read_data) for item in items], True
    if request.mimetype == STRUCTURED:
        return [_from_object(_json(request.body), read_data)], False
    return [_from_binary(request, read_data)], False


def _as_it_is(data: bytes) -> bytes | None:
    return data or None


def _json(text: str | bytes) -> Any:
    try:
        return exact_json.loads(text)
    except ValueError as problem:
        raise Unacceptable(f"expected JSON, got something else: {problem}") from None


def _from_object(item: Any, read_data: Callable[[bytes], Any]) -> CloudEvent:
    if not isinstance(item, dict):
        raise Unacceptable(f"expected a CloudEvent as a JSON object, got {type(item).__name__}")
    for name, value in item.items():
        if name != "data" and not isinstance(value, str | bool | int | None):
            raise Unacceptable(f"{name[:SHOWN]}: expected a text, a whole number, true or false")
    if "data_base64" in item:
        item = {**item, "data": _from_base64(item["data_base64"], read_data)}
        del item["data_base64"]
    return _checked(item, item.get("data"))


def _from_base64(text: Any, read_data: Callable[[bytes], Any]) -> Any:
    try:
        return read_data(base64.b64decode(text, validate=True))
    except (ValueError, TypeError) as problem:
        raise Unacceptable(f"data_base64: expected base64, of JSON data, got something else: {problem}") from None


def _from_binary(request: Request, read_data: Callable[[bytes], Any]) -> CloudEvent:
    if "ce-specversion" not in request.headers:
        raise Unacceptable(
            "expected a CloudEvent: ce-specversion, ce-type, ce-source and ce-id headers with JSON data, "
            f"or a body of {STRUCTURED} or {BATCH}; got Content-Type {request.mimetype or 'none'}"
        )
    attributes = {name[3:]: value for name, value in request.headers.items() if name.startswith("ce-")}
    if request.content_type:
        attributes["datacontenttype"] = request.content_type
    return _checked(attributes, _data(request.body, read_data))


def _data(body: bytes, read_data: Callable[[bytes], Any]) -> Any:
    try:
        return read_data(body)
    except ValueError as problem:
        raise Unacceptable(f"expected a CloudEvent 1.0 with JSON data: {problem}") from None


def _checked(attributes: dict[str, Any], data: Any) -> CloudEvent:
    named = {"id": ""} | {name: value for name, value in attributes.items() if name != "data"}
    try:
        event = CloudEvent(named, data)
    except GenericException as problem:
        raise Unacceptable(f"expected a CloudEvent 1.0: {problem}") from None
    known = event.get_attributes()
    for name in ("id", "source", "type"):
        value = known.get(name)
        if not isinstance(value, str) or not PLAIN.fullmatch(value):
            raise Unacceptable(
                f"{name}: expected printable ASCII without blanks, quotes or percent signs, got {value!r:.{SHOWN}}"
            )
    return event


def reply(events: Sequence[CloudEvent], batched: bool) -> Answer:
    """Answer with events: none as 204, one in binary mode, a batch as a batch."""
    if batched:
        body = "[" + ",".join(to_text(event) for event in events) + "]"
        return body, 200, {"Content-Type": BATCH}
    if not events:
        return "", 204, {}
    return _binary(events[0])


def _binary(event: CloudEvent) -> Answer:
    attributes = dict(event.get_attributes())
    headers = {"Content-Type": attributes.pop("datacontenttype", JSON)}
    headers |= {f"ce-{name}": value for name, value in attributes.items()}
    return exact_json.dumps(event.data), 200, headers
