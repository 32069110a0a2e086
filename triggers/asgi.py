"""Answering HTTP on one event loop: the body is read with a limit, then somebody answers, then the answer is sent.

A client that is slow costs a connection and no thread. https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from functions.shared.answers import Answer, json_answer
from functions.shared.request import Headers, Request

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A body that is too large is read on up to this size, so that a client which keeps its connections hears the answer.
MOST_DISCARDED = 16 * 1024 * 1024
BODY_SECONDS = 30


class BodyTooLarge(Exception):
    """The body has more bytes than this path takes."""


class BodyTooSlow(Exception):
    """The client took too long for its body."""


class Disconnected(Exception):
    """The client went away before its body was there: nobody waits for an answer."""


TOO_SLOW = json_answer({"error": f"expected the body within {BODY_SECONDS} seconds"}, 408, {"Connection": "close"})


def request_of(scope: Scope, body: bytes) -> Request:
    """The request as functions see it."""
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(scope["method"], scope["path"], Headers.of_bytes(scope["headers"]), body, query)


def raw_path(scope: Scope) -> str:
    """The path as it came, still encoded, with its query."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    query = scope.get("query_string") or b""
    return (raw + b"?" + query if query else raw).decode("latin-1")


def authorization(scope: Scope) -> str | None:
    """The header, before the body is there."""
    found = (value for name, value in scope["headers"] if name == b"authorization")
    return next((value.decode("latin-1") for value in found), None)


async def body_of(receive: Receive, largest: int) -> bytes:
    """The whole body. Raises BodyTooLarge, BodyTooSlow, and Disconnected."""
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body = message.get("body", b"")
    if message.get("more_body"):
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _rest_of(body, receive, largest)
        except TimeoutError:
            raise BodyTooSlow from None
    if len(body) > largest:
        raise BodyTooLarge
    return body


async def _rest_of(first: bytes, receive: Receive, largest: int) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= largest:
            parts.append(part)
        elif size > MOST_DISCARDED:
            raise BodyTooLarge
    if size > largest:
        raise BodyTooLarge
    return b"".join(parts)


async def send_answer(send: Send, answer: Answer, head: bool = False) -> None:
    """Send status, headers and body."""
    text, status, headers = answer
    body = text.encode() if isinstance(text, str) else text
    sent = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in headers.items()]
    if status != 204:
        sent.append((b"content-length", str(len(body)).encode()))
    await send_raw(send, status, sent, b"" if head or status == 204 else body)


async def send_raw(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Send an answer as it is; when the connection is closed meanwhile, nobody waits for it."""
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except RuntimeError as problem:
        # uvloop's word for it: what follows in the connection was no HTTP, and the server has closed it.
        if "closed" not in str(problem):
            raise
