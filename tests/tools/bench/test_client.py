"""The client: kept connections, lost ones, and a 503 that says when."""

import asyncio
from contextlib import asynccontextmanager

from tools.bench.client import Answer, Connection, message
from tools.bench.load import Load, Sent
from tools.bench.orders import Guest, Order, Outcome


@asynccontextmanager
async def server(*answers: bytes | None):
    """Gives these answers, one after the other; for None it hangs up. Tells how many connections there were."""
    left, met = iter(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer)
        while await reader.readuntil(b"\r\n\r\n") and (answer := next(left)):
            await reader.readexactly(2)
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1")
    async with listening:
        yield listening.sockets[0].getsockname(), met


HEAD = b"POST / HTTP/1.1\r\nContent-Length: "
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"orderId":"7"}'
LATER = b"HTTP/1.1 503 Later\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"status":"ERROR"}'


def test_a_connection_is_kept():
    async def ask_twice() -> tuple[list[Answer], int]:
        async with server(OK, LATER, None) as (address, met):
            connection = Connection(*address)
            found = [await connection.ask(message(HEAD, b"{}")) for _ in range(2)]
            connection.close()
            return found, len(met)

    assert ([Answer(200, b'{"orderId":"7"}'), Answer(503, b"{}", 0.0)], 1) == asyncio.run(ask_twice())


def test_a_request_whose_connection_was_lost_is_sent_again():
    async def ask() -> tuple[Answer, int]:
        async with server(None, OK, None) as (address, _):
            connection = Connection(*address)
            found = await connection.ask(message(HEAD, b"{}"))
            connection.close()
            return found, connection.lost

    assert (Answer(200, b'{"orderId":"7"}'), 1) == asyncio.run(ask())


def placed(*answers: bytes | None) -> tuple[Load, Sent | None]:
    async def installation() -> tuple[Load, Sent | None]:
        async with server(*answers, None) as (address, _):
            load = Load(address, None, None, 1)
            guest = Guest("anna", "", head=HEAD)
            found = await load.place(load.connections[0], Order("1", Outcome.COMPLETED, guest, b"{}"))
            load.connections[0].close()
            return load, found

    return asyncio.run(installation())


def test_a_503_is_waited_out_and_counted():
    load, sent = placed(LATER, LATER, OK)

    assert (2, "7", 1) == (load.counts.refused, sent.order_id, len(load.counts.sent))
    assert not load.counts.problems


def test_an_order_that_is_not_taken_is_a_problem():
    load, sent = placed(REFUSED)

    assert (None, {'200 {"status":"ERROR"}': 1}) == (sent, dict(load.counts.problems))
