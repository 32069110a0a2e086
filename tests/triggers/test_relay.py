"""What a broker without a token sends comes to the function with one, and the function's answer comes back."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import Call, FakeFunction, Reply
from tests.processes import end, start, trigger
from tests.system import OURS, Http
from tools.local.processes import free_port

EVENT = {"ce-id": "1", "ce-source": "/test", "ce-specversion": "1.0", "ce-type": "homework.arch.pay.sale"}
# Where the kernel's struct tcp_info has tcpi_data_segs_in, in bytes.
DATA_SEGMENTS_IN = 152


@pytest.fixture(scope="module")
def function() -> Iterator[FakeFunction]:
    fake = FakeFunction().start()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def relay(function: FakeFunction, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    """The relay in front of one function that events start, one with a schedule, and some that are nobody's."""
    folder: Path = tmp_path_factory.mktemp("relay")
    urls = {name: f"{function.url}/at/{name}" for name in ("pay-sale", "order-flush", "billing-internal-add")}
    urls["pay-refund"] = f"http://127.0.0.1:{free_port()}"
    (folder / "urls.json").write_text(json.dumps(urls))
    port = free_port()
    process = start(trigger("relay", folder, port, FUNCTION_URLS=folder / "urls.json"))
    yield Http(f"http://127.0.0.1:{port}")
    assert end(process) == 0


@pytest.fixture(autouse=True)
def _as_new(function: FakeFunction) -> None:
    function.calls.clear()
    function.behave = answer


def answer(_: Call) -> Reply:
    return 200, {"ce-id": "2", "ce-type": "next", "Content-Type": "application/json"}, b'{"a": 1}'


@pytest.mark.parametrize("name", ["pay-sale", "order-flush"])
def test_the_token_is_added_and_all_else_stays_as_it_is(relay: Http, function: FakeFunction, name: str):
    got = relay.post(f"/function/{name}", data="{}", headers={**EVENT, "Authorization": "Bearer another"})

    (call,) = function.calls
    assert (call.path, call.body) == (f"/at/{name}", b"{}")
    assert call.headers["authorization"] == OURS["Authorization"]
    assert EVENT.items() <= call.headers.items()
    assert (got.status, got.json, got.headers["ce-id"], got.headers["ce-type"]) == (200, {"a": 1}, "2", "next")


@pytest.mark.parametrize("status", [204, 500, 503])
def test_what_a_function_says_is_what_the_broker_hears(relay: Http, function: FakeFunction, status: int):
    function.behave = lambda _: (status, {"Retry-After": "1"}, b"")

    got = relay.post("/function/pay-sale", data="{}", headers=EVENT)
    assert (got.status, got.headers["Retry-After"]) == (status, "1")


def test_an_answer_is_written_whole_or_not_at_all(relay: Http):
    """A relay that is killed between head and body has lost the reply: to Knative's dispatcher there was none."""
    host, _, port = relay.base.removeprefix("http://").partition(":")
    head = [f"{name}: {value}" for name, value in {**EVENT, "Host": host, "Content-Length": "2"}.items()]
    request = "\r\n".join(["POST /function/pay-sale HTTP/1.1", *head, "", "{}"]).encode()
    with socket.create_connection((host, int(port)), timeout=20) as broker:
        broker.sendall(request)
        answer = b""
        while not answer.endswith(b'\r\n\r\n{"a": 1}'):
            answer += broker.recv(65536)
        assert received_segments(broker) == 1


def received_segments(connection: socket.socket) -> int:
    """How many with data have come; each write is one. https://man7.org/linux/man-pages/man7/tcp.7.html"""
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_IN + 4)
    return int.from_bytes(information[DATA_SEGMENTS_IN:], sys.byteorder)


@pytest.mark.parametrize(
    "path",
    [
        "/function/billing-internal-add",
        "/function/billing-balance-add",
        "/function/pay-sale/internal",
        "/function/../billing-internal-add",
        "/function/pay-sale%2f..%2fbilling-internal-add",
        "/function/",
        "/billing-service/api/v1/internal/balance/add",
        "/",
    ],
)
def test_nothing_but_events_and_runs_goes_through(relay: Http, function: FakeFunction, path: str):
    assert relay.post(path, data="{}").status == 404
    assert function.calls == []


def test_a_function_that_is_not_there_is_asked_for_again(relay: Http):
    got = relay.post("/function/pay-refund", data="{}", headers=EVENT)

    assert (got.status, got.headers["Retry-After"]) == (503, "1")


def test_only_posts_go_through(relay: Http, function: FakeFunction):
    assert relay.get("/function/pay-sale").status == 405
    assert function.calls == []


def test_it_has_health_and_metrics(relay: Http):
    assert relay.get("/_/health").status == 200
    assert "relay_request_duration_seconds" in relay.get("/_/metrics").text
