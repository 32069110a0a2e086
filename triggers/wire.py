"""A CloudEvent on its way: from HTTP to RabbitMQ and back, its data never touched.

On RabbitMQ it looks as Knative's broker writes it: attributes as headers without a prefix, the data as the body.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from functions.shared import exact_json
from functions.shared.events import BATCH, LARGEST_BATCH, PLAIN, STRUCTURED, Unacceptable
from functions.shared.telemetry import traces
from functions.shared.telemetry.traces import Trace
from triggers.amqp import Message

JSON = "application/json"
NAME = re.compile(r"[a-z0-9]{1,40}")
REQUIRED = ("specversion", "id", "source", "type")
USUAL = {*REQUIRED, "time", "subject", "datacontenttype", "dataschema", "correlationid", "causationid"}
ROUTED = ("id", "source", "type", "subject")
# AMQP has 255 bytes for a message's id and its content type. One attribute, percent-encoded at worst, has to fit into
# a header line that functions accept (8190 bytes), and all of them into one frame of AMQP (128 KiB).
SHORT = 255
SURELY_SHORT = SHORT // 4  # characters: each is four bytes at the most
LONGEST_VALUE = 2700
MOST_ATTRIBUTES = 40
SHOWN = 80
# What a header cannot carry as it is; CloudEvents has it percent-encoded. Blanks inside stay as they are, because
# the Python SDK, on which functions stand, does not decode.
NOT_IN_A_HEADER = re.compile(r"^ +| +$|[^ -$&-~]+")
PERHAPS_NOT_IN_A_HEADER = re.compile(r"[^!-$&-~]")
# Headers of a delivery that are no attributes of the event.
ATTEMPTS = "x-attempts"


@dataclass(frozen=True)
class WireEvent:
    """The event's attributes as text, and its data as bytes."""

    attributes: dict[str, str]
    data: bytes = b""
    attempts: int = field(default=0, compare=False)
    trace: Trace | None = field(default=None, compare=False)

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str) -> str | None:
        """An attribute, or None."""
        return self.attributes.get(name)

    @property
    def content_type(self) -> str:
        """The media type of the data."""
        return self.attributes.get("datacontenttype", JSON)

    @property
    def is_json(self) -> bool:
        """Whether the data says that it is JSON, so that it can stand inside a batch; if it lies, the batch fails."""
        return bool(self.data) and "json" in self.content_type

    def with_attributes(self, **more: str) -> "WireEvent":
        """The same event with further attributes."""
        return replace(self, attributes={**self.attributes, **more})


def checked(attributes: dict[str, str], data: bytes, attempts: int = 0, trace: Trace | None = None) -> WireEvent:
    """An event that anybody downstream can read. Raises Unacceptable.

    A trace among its own attributes goes before `trace`, and is no attribute any more, as in Knative's broker.
    """
    trace = traces.extract(attributes.get) or trace
    attributes = {name: value for name, value in attributes.items() if name not in traces.NAMES}
    for name in REQUIRED:
        if not attributes.get(name):
            raise Unacceptable(f"{name}: expected a value, got nothing")
    if attributes["specversion"] != "1.0":
        raise Unacceptable(f"specversion: expected 1.0, got {attributes['specversion']}")
    if len(attributes) > MOST_ATTRIBUTES:
        raise Unacceptable(f"expected at most {MOST_ATTRIBUTES} attributes, got {len(attributes)}")
    if max(map(len, attributes.values())) > SURELY_SHORT or not attributes.keys() <= USUAL:
        _check_names_and_sizes(attributes)
    for name in ROUTED:
        value = attributes.get(name)
        if value is not None and not PLAIN.fullmatch(value):
            raise Unacceptable(
                f"{name}: expected printable ASCII without blanks, quotes or percent signs, got {value!r}"
            )
    if "time" not in attributes:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        attributes = {"time": now, **attributes}
    return WireEvent(attributes, data, attempts, trace)


def _check_names_and_sizes(attributes: dict[str, str]) -> None:
    for name, value in attributes.items():
        longest = SHORT if name in ("id", "datacontenttype") else LONGEST_VALUE
        size = len(value) if value.isascii() else len(value.encode())
        if size > longest:
            raise Unacceptable(f"{name}: expected at most {longest} bytes, got {size}")
        if name not in USUAL and not NAME.fullmatch(name):
            raise Unacceptable(f"{name[:SHOWN]!r}: expected a name of lower-case letters and digits")


def from_http(headers: Mapping[str, str], body: bytes) -> WireEvent:
    """One event in binary or structured mode. Raises Unacceptable."""
    content_type = headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    trace = traces.extract(headers.get)
    if media_type == STRUCTURED:
        return from_object(_json(body), trace)
    if not headers.get("ce-specversion"):
        raise Unacceptable(
            f"expected one CloudEvent, in binary mode (ce- headers) or as {STRUCTURED}; "
            f"got Content-Type {media_type or 'none'} and no ce-specversion header"
        )
    attributes = {
        name[3:].lower(): unquote(value) for name, value in headers.items() if name.lower().startswith("ce-")
    }
    if content_type:
        attributes["datacontenttype"] = content_type
    return checked(attributes, body, trace=trace)


def _json(text: bytes | str) -> Any:
    try:
        return exact_json.loads(text)
    except ValueError as problem:
        raise Unacceptable(f"expected JSON, got something else: {problem}") from None


def from_object(item: Any, trace: Trace | None = None) -> WireEvent:
    """One event from its JSON object. Raises Unacceptable."""
    if not isinstance(item, dict):
        raise Unacceptable(f"expected a CloudEvent as a JSON object, got {type(item).__name__}")
    attributes = {
        name: value if isinstance(value, str) else _scalar(name, value)
        for name, value in item.items()
        if name not in ("data", "data_base64") and value is not None
    }
    if "data_base64" in item:
        return checked(attributes, _base64(item["data_base64"]), trace=trace)
    data = b"" if item.get("data") is None else exact_json.dumps(item["data"]).encode()
    return checked({"datacontenttype": JSON, **attributes}, data, trace=trace)


def _scalar(name: str, value: Any) -> str:
    """An attribute that is no text as one: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#22-type-system-mapping"""
    if isinstance(value, bool | int):
        return json.dumps(value)
    raise Unacceptable(f"{name[:SHOWN]}: expected a text, a whole number, true or false")


def from_batch(body: bytes) -> list[WireEvent]:
    """The events of a batch. Raises Unacceptable when one of them is none."""
    items = _json(body)
    if not isinstance(items, list):
        raise Unacceptable(f"expected a JSON list of CloudEvents, got {type(items).__name__}")
    if len(items) > LARGEST_BATCH:
        raise Unacceptable(f"expected at most {LARGEST_BATCH} events in a batch, got {len(items)}")
    return [from_object(item) for item in items]


def _base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as problem:
        raise Unacceptable(f"data_base64: expected base64, got something else: {problem}") from None


def replies_from_http(status: int, headers: Mapping[str, str], body: bytes) -> list[WireEvent]:
    """The events that a function answered with; none when the answer carries no event. Raises Unacceptable."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if status == 204 or not body:
        return []
    if media_type == BATCH:
        return from_batch(body)
    if media_type == STRUCTURED or headers.get("ce-specversion"):
        return [from_http(headers, body)]
    return []


def to_http(event: WireEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body in binary mode."""
    attributes = event.attributes
    if PERHAPS_NOT_IN_A_HEADER.search("".join(attributes.values())):
        attributes = {name: _header(value) for name, value in attributes.items()}
    headers = {f"ce-{name}": value for name, value in attributes.items() if name != "datacontenttype"}
    trace = event.trace.headers() if event.trace else {}
    return {**headers, **trace, "Content-Type": attributes.get("datacontenttype", JSON)}, event.data


def _header(value: str) -> str:
    return NOT_IN_A_HEADER.sub(lambda found: quote(found[0]), value)


def to_batch(events: list[WireEvent]) -> tuple[dict[str, str], bytes]:
    """Headers and body in batched mode; only for events whose data is JSON, which goes in as it is.

    One request has many traces here, so each event has its own with it, as the extension that CloudEvents has for it.
    """
    body = b",".join(_structured(event) for event in events)
    return {"Content-Type": BATCH}, b"[" + body + b"]"


def _structured(event: WireEvent) -> bytes:
    trace = event.trace.headers() if event.trace else {}
    attributes = json.dumps(event.attributes | trace, separators=(",", ":")).encode()
    return attributes[:-1] + b',"data":' + event.data + b"}"


def to_amqp_headers(event: WireEvent) -> dict[str, Any]:
    """The headers of the message; the binding of a trigger looks at them."""
    headers: dict[str, Any] = {name: value for name, value in event.attributes.items() if name != "datacontenttype"}
    headers["content-type"] = event.content_type
    if event.attempts:
        headers[ATTEMPTS] = event.attempts
    # Both or none, as Knative's broker reads them; so a tracestate is there even if it is empty.
    return headers | (event.trace._asdict() if event.trace else {})


def message_of(event: WireEvent, exchange: str, routing_key: str = "", **options: Any) -> Message:
    """The message that carries `event` on RabbitMQ."""
    headers = to_amqp_headers(event)
    return Message(exchange, routing_key, headers, event.data, event.content_type, event["id"], **options)


def from_amqp(headers: Mapping[str, Any] | None, content_type: str | None, body: bytes) -> WireEvent:
    """The event of a message, as Knative's dispatcher reads it. Raises Unacceptable."""
    known = {str(name).lower(): value for name, value in (headers or {}).items()}
    attempts = known.get(ATTEMPTS, 0) if isinstance(known.get(ATTEMPTS, 0), int) else 0
    trace = traces.extract(known.get)
    if content_type and content_type.startswith(STRUCTURED):
        return replace(from_object(_json(body), trace), attempts=attempts)
    attributes = {
        name.removeprefix("ce-"): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in known.items()
        if not name.startswith("x-") and name not in traces.NAMES
    }
    attributes["datacontenttype"] = attributes.pop("content-type", None) or content_type or JSON
    return checked(attributes, body, attempts, trace)
