"""AMQP's frames for what nearly all traffic is here: an event that is published, confirmed, delivered, acknowledged.

pika writes and reads whatever AMQP knows, with a hundred and seventy calls of Python for an event's way through the
dispatcher. What has another shape than these is left to it: then the answer here is None. A test compares the bytes.
https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 2.3.5 and 4.2; the numbers: amqp0-9-1.xml beside it.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pika

METHOD, HEADER, BODY, END = 1, 2, 3, 0xCE
BASIC, PUBLISH, DELIVER, ACK = 60, 40, 60, 80
MANDATORY, MULTIPLE = 1, 1
PERSISTENT = 2
# Which properties there are: content type, headers, delivery mode, message's id; what RabbitMQ delivers has the same.
USUAL = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7
SHORT = 255
TEXT = ord("S")

_FRAME = struct.Struct(">BHI")  # type, channel, size; the payload and END follow
_METHOD = struct.Struct(">BHIHH")  # the same; class, method
_HEADER = struct.Struct(">BHIHHQH")  # the same; class, weight, the body's size, which properties there are
_ACK = struct.Struct(">BHIHHQBB")  # a whole frame: class, method, delivery's tag, multiple; END
_SIZE = struct.Struct(">I")
_TAG = struct.Struct(">Q")


@dataclass(frozen=True)
class Message:
    """What is published where; `expires` is in milliseconds."""

    exchange: str
    routing_key: str
    headers: dict[str, Any]
    body: bytes
    content_type: str
    id: str
    expires: int | None = None
    must_arrive: bool = False

    def properties(self) -> pika.BasicProperties:
        """Persistent, so that a broker's restart keeps it."""
        return pika.BasicProperties(
            headers=self.headers,
            content_type=self.content_type,
            message_id=self.id,
            delivery_mode=PERSISTENT,
            expiration=str(self.expires) if self.expires is not None else None,
        )


class Confirmed(NamedTuple):
    """The broker has what was published as the `tag`-th on this channel, or all up to it; `end`: after the frame."""

    channel: int
    tag: int
    multiple: bool
    end: int


class DeliveredMessage(NamedTuple):
    """A whole message, in three frames that stand one after the other; `end`: after the last of them."""

    channel: int
    tag: int
    headers: dict[str, Any] | None
    content_type: str | None
    body: bytes
    id: str | None
    end: int


def acknowledged(channel: int, tag: int, multiple: bool) -> bytes:
    """The frame that acknowledges a delivery, or all up to it."""
    return _ACK.pack(METHOD, channel, _ACK.size - _FRAME.size - 1, BASIC, ACK, tag, multiple, END)


def published(channel: int, message: Message, largest: int) -> bytes | None:
    """The frames that publish a message, whose body may have up to `largest` bytes in one frame."""
    properties, body = _properties(message), message.body
    if properties is None or not 0 < len(body) <= largest:
        return None
    size = _HEADER.size - _FRAME.size + len(properties)
    return b"".join(
        (
            _where(channel, message.exchange, message.routing_key),
            _HEADER.pack(HEADER, channel, size, BASIC, 0, len(body), USUAL),
            properties,
            _between(channel, len(body)),
            body,
            b"\xce",
        )
    )


def read(data: bytes, at: int) -> Confirmed | DeliveredMessage | None:
    """What begins at `at`, when all of it is there."""
    try:
        kind, channel, size, group, method = _METHOD.unpack_from(data, at)
        if kind != METHOD or group != BASIC:
            return None
        if method == DELIVER:
            return _delivered(data, at, channel, size)
        if method == ACK and data[at + size + _FRAME.size] == END:
            *_, tag, multiple, _ = _ACK.unpack_from(data, at)
            return Confirmed(channel, tag, bool(multiple & MULTIPLE), at + _ACK.size)
    except (struct.error, IndexError, UnicodeDecodeError):
        pass
    return None


@lru_cache(256)
def _where(channel: int, exchange: str, routing_key: str) -> bytes:
    arguments = b"\0\0" + _short(exchange) + _short(routing_key) + bytes((MANDATORY,))
    size = _METHOD.size - _FRAME.size + len(arguments)
    return _METHOD.pack(METHOD, channel, size, BASIC, PUBLISH) + arguments + bytes((END,))


def _between(channel: int, size: int) -> bytes:
    return b"\xce" + _FRAME.pack(BODY, channel, size)


def _properties(message: Message) -> bytes | None:
    content_type, id = message.content_type.encode(), message.id.encode()
    if message.expires is not None or len(content_type) > SHORT or len(id) > SHORT:
        return None
    parts = []
    for name, value in message.headers.items():
        if type(value) is not str:
            return None
        text = value.encode()
        parts += (_named(name), _SIZE.pack(len(text)), text)
    table = b"".join(parts)
    return b"%c%b%b%b%c%c%b" % (
        len(content_type),
        content_type,
        _SIZE.pack(len(table)),
        table,
        PERSISTENT,
        len(id),
        id,
    )


# Anybody may send events with attributes of any names.
@lru_cache(1024)
def _named(name: str) -> bytes:
    return _short(name) + bytes((TEXT,))


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def _delivered(data: bytes, at: int, channel: int, size: int) -> DeliveredMessage | None:
    header = at + _FRAME.size + size + 1
    kind, its_channel, size, _, _, length, which = _HEADER.unpack_from(data, header)
    body = header + _FRAME.size + size + 1
    if kind != HEADER or which != USUAL or its_channel != channel:
        return None
    kind, its_channel, size = _FRAME.unpack_from(data, body)
    end = body + _FRAME.size + size + 1
    if kind != BODY or size != length or its_channel != channel:
        return None
    if not data[header - 1] == data[body - 1] == data[end - 1] == END:
        return None
    (tag,) = _TAG.unpack_from(data, at + _METHOD.size + 1 + data[at + _METHOD.size])  # after the consumer's
    at = header + _HEADER.size
    content_type_end = at + 1 + data[at]
    content_type = str(data[at + 1 : content_type_end], "utf-8")
    at = content_type_end
    (size,) = _SIZE.unpack_from(data, at)
    at += _SIZE.size
    table_end = at + size
    headers = {}
    while at < table_end:
        name_end = at + 1 + data[at]
        if data[name_end] != TEXT:
            return None
        name = str(data[at + 1 : name_end], "utf-8")
        (size,) = _SIZE.unpack_from(data, name_end + 1)
        start = name_end + 1 + _SIZE.size
        at = start + size
        headers[name] = str(data[start:at], "utf-8")
    at = table_end + 2  # after the delivery mode and the size of the id
    id = str(data[at : at + data[at - 1]], "utf-8")
    return DeliveredMessage(channel, tag, headers, content_type, data[body + _FRAME.size : end - 1], id, end)
