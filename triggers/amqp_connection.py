"""pika's connection and channel, with a short way for what nearly all traffic is (`triggers/amqp_frames.py`).

They lean on names that pika does not promise, so its version is pinned. All that is not on the short way is pika's,
and so is all that is known of a connection's state.
"""

from collections.abc import Callable
from functools import partial
from logging import ERROR
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel as PikaChannel

from functions.shared.telemetry.logs import log
from triggers import amqp_frames
from triggers.amqp_frames import Confirmed, DeliveredMessage, Message

Confirm = Callable[[int, bool, str | None], None]
Deliver = Callable[[DeliveredMessage], None]


class Channel(PikaChannel):
    """One that publishes, or one that consumes."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._confirm: Confirm | None = None
        self._deliver: Deliver | None = None

    # -- publishing --

    def confirm(self, confirm: Confirm) -> None:
        """Have what is published confirmed: `confirm` gets its number, whether all before it are meant as well, and
        None, or what was refused."""
        self._confirm = confirm
        self.confirm_delivery(partial(_confirmed_otherwise, confirm))

    def publish(self, message: Message) -> None:
        """Publish a persistent message."""
        self._raise_if_not_open()
        frames = amqp_frames.published(self.channel_number, message, self.connection._body_max_length)
        if frames is None:
            self.basic_publish(
                message.exchange, message.routing_key, message.body, message.properties(), mandatory=True
            )
        else:
            self.connection._output_marshaled_frames((frames,))

    # -- consuming --

    def consume(self, queue: str, deliver: Deliver) -> None:
        """Have the queue's messages delivered."""
        self._deliver = deliver
        self.basic_consume(queue, partial(_delivered_otherwise, deliver))

    def basic_ack(self, delivery_tag: int = 0, multiple: bool = False) -> None:
        """Acknowledge a delivery, or all up to it."""
        self._raise_if_not_open()
        self.connection._output_marshaled_frames(
            (amqp_frames.acknowledged(self.channel_number, delivery_tag, multiple),)
        )

    def basic_cancel(self, *arguments: Any, **named: Any) -> str | None:
        """Consume no more: pika gives back what still comes."""
        self._deliver = None
        return super().basic_cancel(*arguments, **named)

    # -- what the connection has read --

    def hear(self, frames: Confirmed | DeliveredMessage) -> bool:
        """Whether somebody here has taken this."""
        if not self.is_open:
            return False
        if isinstance(frames, DeliveredMessage) and self._deliver:
            self._deliver(frames)
        elif isinstance(frames, Confirmed) and self._confirm:
            self._confirm(frames.tag, frames.multiple, None)
        else:
            return False
        return True


class Connection(AsyncioConnection):
    """A connection, on the event loop that runs.

    What is written `with` it leaves in one piece: a message and the acknowledgements beside it are several calls of
    the kernel otherwise, and as many packets for the broker to read.
    """

    def __init__(self, *arguments: Any, **named: Any):
        self._together = 0
        self._written: list[bytes] = []
        super().__init__(*arguments, **named)

    def __enter__(self) -> None:
        self._together += 1

    def __exit__(self, *_: object) -> None:
        self._together -= 1
        if self._written and not self._together:
            written, self._written = self._written, []
            self._adapter_emit_data(b"".join(written))

    def _create_channel(self, channel_number: int, on_open_callback: Callable[[Any], None]) -> Channel:
        return Channel(self, channel_number, on_open_callback)

    def _on_data_available(self, data_in: bytes) -> None:
        data, at = self._frame_buffer + data_in, 0
        while at < len(data):
            frames = amqp_frames.read(data, at)
            channel = frames and self._channels.get(frames.channel)
            if channel and channel.hear(frames):
                self.bytes_received += frames.end - at  # a server that is heard of is alive
                at = frames.end
                continue
            self._frame_buffer = data[at:]
            size, frame = self._read_frame()
            if not frame:
                return
            self._trim_frame_buffer(size)
            self._process_frame(frame)
            data, at = self._frame_buffer, 0
        self._frame_buffer = b""

    def _adapter_emit_data(self, data: bytes) -> None:
        if self._together:
            self._written.append(data)
            return
        if self._transport is None:
            return
        try:
            super()._adapter_emit_data(data)
        except Exception as problem:
            # Nobody knows what is missing now: start all over.
            log("nothing could be written to RabbitMQ", level=ERROR, trace=True)
            self._terminate_stream(problem)


def _confirmed_otherwise(confirm: Confirm, frame: Any) -> None:
    method = frame.method
    refused = None if isinstance(method, pika.spec.Basic.Ack) else "RabbitMQ refused the message"
    confirm(method.delivery_tag, method.multiple, refused)


def _delivered_otherwise(deliver: Deliver, channel: Channel, method: Any, properties: Any, body: bytes) -> None:
    tag, headers, content_type = method.delivery_tag, properties.headers, properties.content_type
    deliver(DeliveredMessage(channel.channel_number, tag, headers, content_type, body, properties.message_id, 0))
