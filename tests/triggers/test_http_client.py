"""The client of functions: connections are kept, every end of one is told apart, and no answer is another's."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from functions.shared import http_messages
from functions.shared.http_messages import Answer, head, target_of
from tools.local.processes import free_port
from triggers import http_client
from triggers.http_client import HttpClient, Lost, NotReached, TimedOut

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Says = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers by a script: for each request of a connection the next of `answers`, bytes as they are."""

    def __init__(self, *answers: bytes, then: str = "keep"):
        self.answers, self.then = [*answers], then
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/path?a=1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while self.answers and (request := await self._request(reader)):
            self.requests.append(request)
            writer.write(self.answers.pop(0))
        if self.then == "hang":
            await reader.read()
        writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await reader.readexactly(length)


def client(seconds: float = 5) -> HttpClient:
    return HttpClient(seconds)


def ask(server: Server, times: int = 1, method: str = "POST", seconds: float = 5) -> list[Answer]:
    """The answers of a server to a client's requests, one after the other."""

    async def run() -> list[Answer]:
        async with server:
            asking, target = client(seconds), target_of(server.url)
            return [await asking.request(method, target, target.path, [("X-A", "1")], b"hi") for _ in range(times)]

    return asyncio.run(run())


def test_a_request_is_sent_as_it_was_asked_for():
    server = Server(OK)
    ((status, _, body),) = ask(server)
    assert (200, b"ok") == (status, body)
    host = f"Host: 127.0.0.1:{server.port}".encode()
    assert [b"POST /path?a=1 HTTP/1.1\r\n%s\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi" % host] == server.requests


def test_a_connection_is_used_again():
    server = Server(OK, OK, OK)
    assert [b"ok"] * 3 == [answer.body for answer in ask(server, 3)]
    assert 1 == server.connections


def test_headers_come_as_they_were_sent_and_are_found_in_any_case():
    server = Server(b"HTTP/1.1 200 OK\r\nX-One: 1\r\nx-one: 2\r\nContent-Length: 0\r\n\r\n")
    (answer,) = ask(server)
    assert [(b"X-One", b"1"), (b"x-one", b"2")] == answer.pairs[:2]
    assert "1, 2" == answer.headers.get("X-ONE")


def test_after_connection_close_another_connection_is_made():
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    server = Server(closing, OK)
    assert [b"ok"] * 2 == [answer.body for answer in ask(server, 2)]
    assert 2 == server.connections


def test_a_connection_that_the_server_has_closed_is_not_used_again():
    async def run() -> int:
        async with Server(OK, OK) as server:
            asking = client()
            await asking.post(server.url, [], b"")
            (host,) = asking._hosts.values()
            (kept,) = host.idle
            kept._transport.abort()  # as when the server's end comes
            await asking.post(server.url, [], b"")
            return server.connections

    assert 2 == asyncio.run(run())


def test_the_servers_close_of_an_idle_connection_is_seen():
    async def run() -> list[Any]:
        async with Server(OK, then="close") as server:
            asking = client()
            await asking.post(server.url, [], b"")
            (host,) = asking._hosts.values()
            async with asyncio.timeout(5):
                while host.idle:
                    await asyncio.sleep(0)
            return [*host.idle]

    assert [] == asyncio.run(run())


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(monkeypatch):
    monkeypatch.setattr(http_client, "LONGEST_IDLE", 0.0)
    server = Server(OK, OK)
    ask(server, 2)
    assert 2 == server.connections


def test_many_requests_at_once_have_a_connection_each_and_their_own_answers():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            path = line.split()[1]
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    async def run() -> list[bytes]:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            asking = client()
            answers = await asyncio.gather(*(asking.post(f"{base}/{n}", [], b"") for n in range(50)))
            return [answer.body for answer in answers]

    assert [b"/%d" % n for n in range(50)] == asyncio.run(run())


# -- forms of answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", (200, b"abcde")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"ok")),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, (200, b"ok")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, b"")),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", (500, b"")),
    ],
    ids=["chunked", "continue", "early hints", "no content", "not modified", "no body"],
)
def test_every_form_of_an_answer_is_read_and_the_connection_is_kept(answer, expected):
    server = Server(answer, OK)
    first, second = ask(server, 2)
    assert (expected, b"ok", 1) == ((first.status, first.body), second.body, server.connections)
    assert b"Link" not in dict(first.pairs)


def test_an_answer_without_a_length_ends_with_its_connection():
    server = Server(b"HTTP/1.1 200 OK\r\n\r\nall of it", then="close")
    assert [(200, b"all of it")] == [(answer.status, answer.body) for answer in ask(server)]


def test_the_answer_to_head_has_a_length_and_no_body():
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", OK.removesuffix(b"ok"), then="hang")
    answers = ask(server, 2, method="HEAD")
    assert [(200, b"", "5"), (200, b"", "2")] == [(a.status, a.body, a.headers["content-length"]) for a in answers]
    assert 1 == server.connections


# -- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cut",
    [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Le", OK[:-1], OK.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"],
)
def test_an_answer_that_is_cut_short_is_lost(cut):
    with pytest.raises(Lost, match="the connection was lost"):
        ask(Server(cut, then="close"))


def test_a_chunked_answer_that_is_cut_short_is_lost():
    with pytest.raises(Lost):
        ask(Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", then="close"))


def test_what_is_no_http_is_lost():
    with pytest.raises(Lost, match="no HTTP"):
        ask(Server(b"220 mail.example.org\r\n", then="hang"))


def test_a_switch_of_protocols_that_nobody_asked_for_is_lost():
    with pytest.raises(Lost):
        ask(Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz", then="hang"))


@pytest.mark.parametrize("said", [b"", OK[:-1], b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_without_an_answer_in_time_it_is_given_up(said):
    with pytest.raises(TimedOut, match=r"no answer within 0\.1 s"):
        ask(Server(said, then="hang"), seconds=0.1)


def test_after_a_time_out_the_late_answer_is_not_taken_for_the_next_one():
    release = asyncio.Event()

    async def slowly_then_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if b"/slow" in request:
            await release.wait()
        writer.write(OK if b"/fast" in request else OK.replace(b"ok", b"no"))

    async def run() -> bytes:
        async with await asyncio.start_server(slowly_then_at_once, "127.0.0.1", 0) as server:
            base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            asking = client(0.2)
            with pytest.raises(TimedOut):
                await asking.post(base + "/slow", [], b"")
            release.set()
            return (await asking.post(base + "/fast", [], b"")).body

    assert b"ok" == asyncio.run(run())


def test_where_nobody_listens_nothing_was_sent():
    with pytest.raises(NotReached, match=r"no connection to 127\.0\.0\.1:"):
        asyncio.run(client().post(f"http://127.0.0.1:{free_port()}/", [], b""))


def test_a_name_that_nobody_has_is_not_reached():
    with pytest.raises(NotReached):
        asyncio.run(client().post("http://nobody.invalid/", [], b""))


def test_a_connection_that_never_comes_about_is_not_reached(monkeypatch):
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.2)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run() -> None:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            # A server that never answers the greeting of TLS.
            await client().post(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", [], b"")

    with pytest.raises(NotReached, match=r"within 0\.2 s"):
        asyncio.run(run())


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Le", OK, b"garbage"])
def test_bytes_that_nobody_asked_for_end_the_connection_and_are_no_answer(extra):
    server = Server(OK + extra, OK)
    assert [b"ok"] * 2 == [answer.body for answer in ask(server, 2)]
    assert 2 == server.connections


def test_an_answer_that_comes_later_than_its_request_is_no_answer_to_the_next():
    async def run() -> tuple[bytes, int]:
        async with Server(OK, OK) as server:
            asking = client()
            await asking.post(server.url, [], b"")
            (host,) = asking._hosts.values()
            host.idle[0].data_received(OK.replace(b"ok", b"no"))
            answer = await asking.post(server.url, [], b"")
            return answer.body, server.connections

    assert (b"ok", 2) == asyncio.run(run())


def test_a_connection_that_has_ended_leaves_nothing_for_the_garbage_collector(monkeypatch):
    monkeypatch.setattr(http_client, "LONGEST_IDLE", 0)
    gc.collect()
    gc.disable()
    try:
        ask(Server(OK), 1)
        left = http_client._Connection, http_messages.AnswerReader
        assert [] == [each for each in gc.get_objects() if type(each) in left]
    finally:
        gc.enable()


def test_an_answer_larger_than_the_limit_is_lost(monkeypatch):
    monkeypatch.setattr(http_messages, "LARGEST_ANSWER", 10)
    with pytest.raises(Lost, match="an answer of more than 10 bytes"):
        ask(Server(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11, then="hang"))


@pytest.mark.parametrize("header", [("X-A", "1\r\nX-B: 2"), ("X-A", "1\n"), ("X-A\r", "1"), ("X-A", "Ж")])
def test_a_header_that_would_be_two_or_none_is_refused(header):
    with pytest.raises(ValueError, match=r"line breaks|latin-1"):
        head("POST", target_of("http://x/"), "/", [header], 0)


@pytest.mark.parametrize("url", ["ftp://x/", "x", "http://", "http:///path"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="expected an http:// or https:// address"):
        target_of(url)


def test_an_address_is_taken_apart():
    target = target_of("https://u:p@h.example:8443/a?b=1")
    assert ("h.example", 8443, True, "h.example:8443", "/a?b=1") == (
        target.host, target.port, target.tls, target.authority, target.path,
    )  # fmt: skip
    assert (80, 443) == (target_of("http://x").port, target_of("https://x").port)
