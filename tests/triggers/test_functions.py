"""Functions behind our own server: work waits for threads, probes and slow clients do not."""

import asyncio
import json
import re
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from functions.shared.afterwards import afterwards
from functions.shared.request import Request
from schemas.events import ALL
from tests.clients import API
from tests.processes import child, end, start
from tests.system import OURS, TOKEN, Answer, Http, eventually
from tools.local.children import Child
from tools.local.processes import free_port
from triggers import asgi
from triggers.functions import Functions
from triggers.gateway import Gateway, GatewaySettings
from triggers.ingress import Ingress, IngressSettings
from triggers.stack import Function, by_event, load
from triggers.threads import LONGEST_QUEUE, LONGEST_WAIT, Behind, Threads

THREADS = 4
POST = {"type": "http", "method": "POST", "path": "/", "headers": []}
SOURCE = """
import time
from pathlib import Path

from functions.shared.telemetry.instrumented import instrumented


def work(request):
    if request.path == "/wrong":
        raise RuntimeError("a bug")
    if request.path == "/wait":
        (Path(__file__).parent / request.body.decode()).touch()
        while not (Path(__file__).parent / "go").exists():
            time.sleep(0.01)
    return f"{request.method} {request.path} {len(request.body)}", 200, {"X-Mine": "1"}


work = instrumented(work, needs_database=False, largest=1000)
"""


class Running:
    """A function that may be made to wait, in a process of its own."""

    def __init__(self, directory: Path):
        (directory / "work.py").write_text(SOURCE)
        self.directory, self.port = directory, free_port()
        self.http = Http(f"http://127.0.0.1:{self.port}")
        self.callers = ThreadPoolExecutor(16)
        self.process = alone(directory, self.port, str(directory / "work.py"), "work", THREADS=str(THREADS))

    def waiting(self, count: int) -> list["Future[Answer]"]:
        """So many requests, each of which holds a thread."""
        calls = [self.callers.submit(self.http.post, "/wait", data=f"call-{n}") for n in range(count)]
        eventually(lambda: len([*self.directory.glob("call-*")]) == min(count, THREADS), "the threads busy")
        return calls

    def go_on(self) -> None:
        (self.directory / "go").touch()

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sendall(data)
        return connection


def received(connection: socket.socket, end: bytes) -> bytes:
    """What comes until `end`, however it is cut into pieces; fails where the connection ends before."""
    found = b""
    while not found.endswith(end):
        more = connection.recv(1000)
        assert more, f"ended after {found!r}"
        found += more
    return found


def alone(directory: Path, port: int, source: str, target: str, **environment: str) -> Child:
    variables = {**environment, "FUNCTION_SOURCE": source, "FUNCTION_TARGET": target, "PORT": str(port)}
    health = f"http://127.0.0.1:{port}/_/health"
    return child(target, [sys.executable, "-m", "triggers.serve_function"], directory, health, **variables)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    start(made.process)
    yield made
    made.go_on()
    made.callers.shutdown()
    if made.process.runs:
        end(made.process)


# -- threads --------------------------------------------------------------------------------------------------------


def test_health_is_answered_while_every_thread_is_busy(running):
    calls = running.waiting(THREADS + 2)
    assert {"status": "UP"} == running.http.get("/_/health").json
    assert not any(call.done() for call in calls)
    running.go_on()
    assert {200} == {call.result(10).status for call in calls}


def test_no_more_requests_are_worked_on_than_there_are_threads(running):
    calls = running.waiting(THREADS + 3)
    assert THREADS == len([*running.directory.glob("call-*")])
    running.go_on()
    assert {"POST /wait 6"} == {call.result(10).text for call in calls}


def test_a_queue_that_stands_still_refuses_who_comes_and_in_the_end_who_waits():
    go_on, worked = threading.Event(), []

    def handle(request: Request) -> tuple[str, int, dict]:
        worked.append(request.path)
        go_on.wait(30)
        return "", 204, {}

    async def story() -> list[object]:
        threads = Threads(1)
        answers = [asyncio.create_task(threads.answer(handle, Request("POST", path))) for path in ("/1", "/2")]
        await asyncio.to_thread(eventually, lambda: worked and len(threads._queue) == 2, "one at work, one waiting")
        threads._queue[1].since -= LONGEST_QUEUE
        with pytest.raises(Behind):
            await threads.answer(handle, Request("POST", "/3"))
        threads._queue[0].since -= LONGEST_WAIT
        answers.append(asyncio.create_task(threads.answer(handle, Request("POST", "/4"))))
        with pytest.raises(Behind):
            await answers[1]
        go_on.set()
        return await asyncio.gather(answers[0], answers[2])

    assert [("", 204, {})] * 2 == asyncio.run(story())
    assert ["/1", "/4"] == worked


def test_work_goes_to_the_thread_that_was_the_last_at_work():
    together = threading.Barrier(THREADS)

    async def story() -> set[str]:
        threads = Threads(THREADS)
        await asyncio.gather(*[threads.call(together.wait) for _ in range(THREADS)])
        return {await threads.call(lambda: threading.current_thread().name) for _ in range(5 * THREADS)}

    assert 1 == len(asyncio.run(story()))


@pytest.mark.parametrize("grouped", [False, True])
def test_what_is_no_part_of_an_answer_is_done_when_the_answer_is_written(grouped, lines):
    done, over = [], asyncio.Event()

    def wrong() -> None:
        raise RuntimeError("a bug")

    def handle(request: Request) -> tuple[str, int, dict]:
        for action in (wrong, lambda: done.append("left"), over.set):
            afterwards(action)
        return request.path, 200, {}

    async def send(message: dict[str, Any]) -> None:
        done.append(message["type"])

    async def story() -> None:
        handle.grouped = grouped
        await Functions(1, handle)(POST, no_body, send)
        await asyncio.wait_for(over.wait(), 10)

    asyncio.run(story())
    assert ["http.response.start", "http.response.body", "left"] == done
    assert ["failed after the answer"] == [json.loads(line)["message"] for line in lines]


def test_clients_that_send_half_a_body_hold_up_nobody(running):
    half = [running.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 50) for _ in range(64)]
    assert "POST / 2" == running.http.post("/", data="hi").text
    half[0].sendall(b"x" * 50)
    assert received(half[0], b"POST / 100").startswith(b"HTTP/1.1 200 ")
    for connection in half:
        connection.close()


def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(running):
    running.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxx").close()
    assert 200 == running.http.post("/").status
    assert "Traceback" not in running.process.log.read_text()


def test_a_bug_is_500_and_harms_no_other_request(running):
    assert 500 == running.http.post("/wrong").status
    assert 200 == running.http.post("/").status
    assert "RuntimeError: a bug" in running.process.log.read_text()


async def no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


async def _half_a_body() -> AsyncIterator[dict[str, Any]]:
    yield {"type": "http.request", "body": b"half", "more_body": True}
    await asyncio.Event().wait()


@pytest.mark.parametrize("app", ["functions", "gateway", "ingress"])
def test_a_body_that_does_not_come_is_given_up(app, monkeypatch):
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    ingress = IngressSettings(amqp_url="amqp://x", installation_token=TOKEN)
    settings = {"gateway": GatewaySettings(), "ingress": ingress}
    headers = [(b"authorization", OURS["Authorization"].encode())]
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        path = {"gateway": f"{API}/auth/token"}.get(app, "/")
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
        made = {"functions": lambda: Functions(1, alone=print), "gateway": lambda: Gateway(settings[app]),
                "ingress": lambda: Ingress(settings[app])}[app]()  # fmt: skip

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await made(scope, _half_a_body().__anext__, send)

    asyncio.run(run())
    assert 408 == sent[0]["status"]


# -- HTTP -----------------------------------------------------------------------------------------------------------


def test_requests_that_are_sent_without_waiting_are_answered_in_their_order(running):
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5))
    connection = running.raw(requests)
    heard = b""
    while heard.count(b"GET /") < 5:
        heard += connection.recv(4096)
    assert [b"GET /%d 0" % n for n in range(5)] == re.findall(rb"GET /\d 0", heard)
    connection.close()


def test_a_body_in_chunks_is_whole(running):
    chunks = iter([b"x" * 100, b"y" * 23])
    connection = HTTPConnection("127.0.0.1", running.port, timeout=10)
    connection.request("POST", "/", body=chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert b"POST / 123" == connection.getresponse().read()


@pytest.mark.parametrize("size", [1001, 100_000])
def test_a_body_that_is_too_large_is_413_however_it_is_sent(running, size):
    assert 200 == running.http.post("/", data="x" * 1000).status
    assert 413 == running.http.post("/", data="x" * size).status
    connection = HTTPConnection("127.0.0.1", running.port, timeout=10)
    parts = (b"x" * 500 for _ in range(size // 500 + 1))
    connection.request("POST", "/", body=parts, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert 413 == connection.getresponse().status


def test_a_client_that_asks_before_it_sends_its_body_is_asked_to_go_on(running):
    connection = running.raw(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.sendall(b"hi")
    assert received(connection, b"POST / 2").startswith(b"HTTP/1.1 200 ")
    connection.close()


def test_the_answer_to_head_has_the_length_and_no_body(running):
    answer = running.http.request("HEAD", "/some")
    assert (200, "", "12") == (answer.status, answer.text, answer.headers["Content-Length"])
    assert 200 == running.http.get("/").status


def test_a_path_is_decoded_once(running):
    assert "GET /a b%20Ж 0" == running.http.get("/a%20b%2520%D0%96").text


# -- nothing to do -------------------------------------------------------------------------------------------------


def test_a_server_that_has_nothing_to_do_sleeps(running):
    looks = [0]

    def slept() -> bool:
        looks.append(wake_ups(running.process.pid))
        return looks[-1] == looks[-2]

    eventually(slept, "half a second without a wake-up", every=0.5)
    assert 200 == running.http.get("/").status


def wake_ups(pid: int) -> int:
    """How often the process's first thread, which has the event loop, has waited for something."""
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])


# -- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_lets_requests_finish_and_takes_no_more(running, number):
    calls = running.waiting(2)
    running.process.signal(number)
    eventually(lambda: not connects(running.port), "no more connections taken")
    assert not any(call.done() for call in calls)
    running.go_on()
    assert {200} == {call.result(10).status for call in calls}
    assert 0 == running.process.process.wait(10)


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_connections_that_wait_for_nothing_do_not_hold_up_the_end(running):
    kept = [running.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(5)]
    assert all(connection.recv(1000) for connection in kept)
    assert 0 == end(running.process, seconds=5)


# -- as the framework answers ---------------------------------------------------------------------------------------


def names(function: Function) -> tuple[str, str]:
    return function.source, function.target


SALE = names(by_event("pay.sale"))
REST = names(next(function for function in load() if function.name == "billing-balance-get"))
FLUSH = names(next(function for function in load() if function.name == "order-flush"))
EVENT = {"specversion": "1.0", "id": "a", "source": "/test", "type": "homework.arch.pay.sale",
         "data": ALL["pay.sale"].example}  # fmt: skip
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
JSON = {"Content-Type": "application/json"}
BALANCE = f"{API}/external/user/balance/get"
ASKED: list[tuple[tuple[str, str], str, str, dict[str, str], Any]] = [
    (SALE, "POST", "/", STRUCTURED, EVENT),
    (SALE, "POST", "/any/path", STRUCTURED, EVENT),
    (SALE, "POST", "/", BATCH, [EVENT, EVENT | {"id": "b"}]),
    (SALE, "POST", "/", BATCH, [EVENT, EVENT | {"id": "b", "type": "other"}]),
    (SALE, "POST", "/", JSON, {}),
    (SALE, "GET", "/", {}, None),
    (SALE, "GET", "/_/health", {}, None),
    (SALE, "GET", "/_/ready", {}, None),
    (REST, "POST", BALANCE, JSON, {"username": "anna"}),
    (REST, "POST", BALANCE, JSON | {"Authorization": "Bearer nobody"}, {"username": "anna"}),
    (REST, "POST", BALANCE, JSON | {"Authorization": "Bearer {token}"}, {"username": "anna"}),
    (REST, "POST", BALANCE, JSON | {"Authorization": "Bearer {token}"}, {"username": 1}),
    (REST, "PUT", BALANCE, JSON, {}),
    (REST, "POST", "/elsewhere", JSON, {}),
    (FLUSH, "POST", "/", {}, None),
    (FLUSH, "GET", "/", {}, None),
    (FLUSH, "GET", "/_/ready", {}, None),
]
# Whoever serves adds these of its own accord, and times are never the same.
OF_THE_SERVER = {"date", "server", "connection", "ce-time", "keep-alive"}
TIME = re.compile(r'"(time|timestamp|operationTime)": ?"[^"]+"')


def seen(status: int, headers: Any, text: str) -> tuple[int, dict[str, str], str]:
    variables = {name.lower(): value for name, value in headers.items() if name.lower() not in OF_THE_SERVER}
    return status, variables, TIME.sub("", text)


@pytest.fixture(scope="module")
def served(function_environment: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """The address of a function behind our own server."""
    started: dict[str, tuple[Child, Http]] = {}

    def of(source: str, target: str) -> Http:
        if source not in started:
            port, environment = free_port(), function_environment(Path(source).parent.name)
            process = alone(tmp_path_factory.mktemp("served"), port, source, target, **environment)
            is_public = next(one.is_public for one in load() if one.source == source)
            started[source] = start(process), Http(f"http://127.0.0.1:{port}", {} if is_public else OURS)
        return started[source][1]

    yield of
    for process, _ in started.values():
        assert 0 == end(process)


@pytest.mark.parametrize(("function", "method", "path", "headers", "body"), ASKED)
def test_the_framework_and_our_server_give_the_same_answer(
    served, started_alone, signed, function, method, path, headers, body
):
    source, target = function
    headers = {name: value.replace("{token}", signed(user_name="anna")) for name, value in headers.items()}
    data = None if body is None else json.dumps(body, default=str)
    ours = served(source, target).request(method, path, data=data, headers=headers)
    client = started_alone(Path(source).parent.name, Path(source).stem)
    theirs = client.open(path, method=method, data=data, headers=headers)
    assert seen(theirs.status_code, theirs.headers, theirs.text) == seen(ours.status, ours.headers, ours.text)
