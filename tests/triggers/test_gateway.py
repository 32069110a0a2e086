"""The gateway: the function of a method and path gets the request as it came, and nobody else can be reached."""

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from functions.shared import rest
from tests.fakes import Call, FakeFunction, Reply
from tests.processes import end, start, trigger
from tests.system import Answer, Http
from tools.local.processes import free_port
from triggers.gateway import LARGEST_BODY, Rate

FUNCTIONS = {
    "read": {"caller": "admin", "method": "GET", "path": "/users/{id} /people/{id}"},
    "change": {"caller": "admin", "method": "PUT", "path": "/users/{id}"},
    "myself": {"caller": "bearer", "method": "GET", "path": "/users/me"},
    "inside": {"caller": "internal", "method": "POST", "path": "/inside"},
    "step": {"caller": "broker", "topic": "homework.arch.x.y"},
    "look": {"caller": "public", "method": "HEAD", "path": "/users/{id}"},
    "away": {"caller": "public", "method": "GET", "path": "/away"},
}


@pytest.fixture(scope="module")
def function() -> Iterator[FakeFunction]:
    fake = FakeFunction(lambda call: (200, {"Content-Type": "text/plain"}, call.path.encode())).start()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def http(function: FakeFunction, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    source = {"FUNCTION_SOURCE": "functions/x/y.py", "FUNCTION_TARGET": "y"}
    listed = {name: {"environment": source, "annotations": notes} for name, notes in FUNCTIONS.items()}
    (folder / "stack.yml").write_text(yaml.safe_dump({"functions": listed}))
    (folder / "urls.json").write_text(json.dumps({"away": f"http://127.0.0.1:{free_port()}/function/away"}))
    process = trigger(
        "gateway",
        folder,
        port := free_port(),
        STACK_FILE=folder / "stack.yml",
        FUNCTION_URLS=folder / "urls.json",
        FUNCTION_URL=function.url + "/function/{name}",
        GATEWAY_TIMEOUT_SECONDS=1,
        GATEWAY_IN_FLIGHT=50,
    )
    process.health = f"http://127.0.0.1:{port}/users/me"
    start(process)
    yield Http(f"http://127.0.0.1:{port}")
    assert 0 == end(process)


@pytest.fixture(autouse=True)
def _as_new(http: Http, function: FakeFunction) -> Iterator[None]:
    assert http.base
    usual = function.behave
    function.calls.clear()
    yield
    function.behave = usual


def reached(function: FakeFunction) -> list[tuple[str, str]]:
    return [(call.method, call.path) for call in function.calls]


def error(answer: Answer) -> tuple[int, str, str]:
    body = answer.json
    assert {"timestamp", "status", "error", "path"} == set(body) and answer.status == body["status"]
    return answer.status, body["error"], body["path"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/users/7", "/function/read/users/7"),
        ("PUT", "/users/7", "/function/change/users/7"),
        ("GET", "/people/7/", "/function/read/people/7/"),
        ("GET", "/users/me", "/function/myself/users/me"),
        ("GET", "/users/7?a=1&b=%D0%96&a=2", "/function/read/users/7?a=1&b=%D0%96&a=2"),
        ("GET", "/users/%D0%96%20x", "/function/read/users/%D0%96%20x"),
    ],
)
def test_method_and_path_find_their_function_and_arrive_as_they_came(http, function, method, path, expected):
    assert (200, expected) == ((answer := http.request(method, path)).status, answer.text)
    assert [(method, expected)] == reached(function)


@pytest.mark.parametrize("path", ["/", "/nothing", "/inside", "/step", "/users", "/users/7/8", "/function/step"])
def test_what_nobody_may_reach_is_404(http, function, path):
    assert (404, "Not Found", path) == error(http.post(path))
    assert [] == function.calls


@pytest.mark.parametrize(
    ("path", "allowed"), [("/users/7", "GET, HEAD, PUT"), ("/people/7", "GET"), ("/users/me", "GET, HEAD, PUT")]
)
def test_another_method_is_405_with_all_that_are_allowed(http, path, allowed):
    answer = http.delete(path)
    assert (405, "Method Not Allowed", path) == error(answer)
    assert allowed == answer.headers["Allow"]


def test_body_and_headers_are_passed_on_but_not_those_of_the_connection(http, function):
    body = '{"имя": 39.00}'.encode()
    headers = {"Authorization": "Bearer x", "X-Mine": "1", "Content-Type": "application/json", "TE": "trailers"}
    http.request("PUT", "/users/7", data=body, headers={**headers, "Keep-Alive": "timeout=5", "Upgrade": "h2c"})
    (call,) = function.calls
    assert body == call.body
    assert ("Bearer x", "1", "application/json") == tuple(
        call.headers[name] for name in ("authorization", "x-mine", "content-type")
    )
    assert not {"te", "keep-alive", "upgrade"} & {*call.headers}
    assert f"127.0.0.1:{function.port}" == call.headers["host"]


def test_status_headers_and_body_of_the_answer_come_back_untouched(http, function):
    packed = gzip.compress(b"hello")

    def packing(_: Call) -> Reply:
        return 418, {"Content-Encoding": "gzip", "X-Answer": "1", "Location": "/elsewhere"}, packed

    function.behave = packing
    answer = http.get("/users/7")
    assert (418, "1", "/elsewhere", "hello") == (
        answer.status, answer.headers["X-Answer"], answer.headers["Location"], answer.text,
    )  # fmt: skip


def test_a_redirect_is_for_the_client_to_follow(http, function):
    function.behave = lambda _: (302, {"Location": "/elsewhere"}, b"")
    assert 302 == http.request("GET", "/users/7", headers={}).status
    assert 1 == len(function.calls)


def test_a_body_that_no_function_takes_is_413_and_reaches_nobody(http, function):
    assert LARGEST_BODY == rest.LARGEST_BODY
    too_large = http.request("PUT", "/users/7", data="x" * (LARGEST_BODY + 1))
    assert (413, "Request Entity Too Large") == error(too_large)[:2]
    assert 200 == http.request("PUT", "/users/7", data="x" * LARGEST_BODY).status
    assert 1 == len(function.calls)


def test_a_function_that_is_away_is_503_as_json(http):
    answer = http.get("/away")
    assert (503, "Service Unavailable", "/away") == error(answer)
    assert "1" == answer.headers["Retry-After"]


def test_the_answer_to_head_has_the_functions_length_and_no_body(http, function):
    function.behave = lambda _: (200, {}, b"five!")
    answer = http.request("HEAD", "/users/7")
    assert (200, "5", "") == (answer.status, answer.headers["Content-Length"], answer.text)
    assert [("HEAD", "/function/look/users/7")] == reached(function)


def test_a_function_that_never_answers_is_504_in_time_and_holds_up_nobody(http, function):
    release = threading.Event()
    function.behave = lambda call: (release.wait(30) and 200, {}, b"") if "slow" in call.path else (200, {}, b"quick")
    with ThreadPoolExecutor(40) as pool:
        slow = [pool.submit(http.get, "/users/slow") for _ in range(40)]
        function.wait_for(40)
        assert "quick" == http.get("/users/7").text
        answers = [call.result() for call in slow]
    release.set()
    expected = 504, "No answer came: nobody knows whether it was done"
    assert {expected} == {(answer.status, answer.json["message"]) for answer in answers}
    assert not any("Retry-After" in answer.headers for answer in answers)


def test_beyond_so_many_requests_a_function_is_503_at_once_and_the_others_answer(http, function):
    release = threading.Event()
    function.behave = lambda call: (release.wait(30) and 200, {}, b"") if "slow" in call.path else (200, {}, b"quick")
    with ThreadPoolExecutor(50) as pool:
        slow = [pool.submit(http.get, "/users/slow") for _ in range(50)]
        function.wait_for(50)
        beyond = http.get("/users/8")
        assert "quick" == http.request("PUT", "/users/8", data=b"").text
        release.set()
        assert {200} == {call.result().status for call in slow}
    assert (503, "1") == (beyond.status, beyond.headers["Retry-After"])
    assert "quick" == http.get("/users/8").text


def test_a_function_whose_connection_ends_before_its_answer_is_504_without_retry_after(http, function):
    function.behave = lambda _: (_ for _ in ()).throw(ConnectionResetError)
    answer = http.get("/users/7")
    assert (504, "Gateway Timeout", False) == (answer.status, answer.json["error"], "Retry-After" in answer.headers)
    assert 1 == len(function.calls)


def test_a_probe_is_answered_by_the_gateway_itself(http, function):
    answer = http.get("/_/health")
    assert (200, {"status": "UP"}, 0) == (answer.status, answer.json, len(function.calls))


def test_clients_that_send_half_a_body_hold_up_nobody(http, function):
    head = b"PUT /users/7 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", int(http.base[-5:]))))
            connection.sendall(head + b"half")
        assert 200 == http.get("/users/7").status
    assert [("GET", "/function/read/users/7")] == reached(function)


# More than the public host takes


def test_a_rate_admits_what_two_seconds_bring_at_once_and_then_as_much_as_time_has_brought():
    now = [0.0]
    rate = Rate(5, clock=lambda: now[0])
    assert [True] * 10 + [False] == [rate.admits() for _ in range(11)]
    now[0] = 0.5
    assert [True, True, False] == [rate.admits() for _ in range(3)]
    now[0] = 1000.0
    assert [True] * 10 + [False] == [rate.admits() for _ in range(11)]


def test_without_a_rate_everything_is_admitted():
    rate = Rate(0)
    assert all(rate.admits() for _ in range(10_000))


def test_beyond_the_rate_a_client_gets_429_and_when_to_come_again_and_health_is_still_answered(function, tmp_path):
    listening = {"FUNCTION_URL": function.url + "/function/{name}", "GATEWAY_REQUESTS_PER_SECOND": 5}
    process = trigger("gateway", tmp_path, port := free_port(), **listening)
    start(process)
    http, calls = Http(f"http://127.0.0.1:{port}"), len(function.calls)
    answers = [http.get("/oauth/token_key") for _ in range(40)]
    statuses = [answer.status for answer in answers]
    assert (200, {200, 429}) == (statuses[0], {*statuses})
    assert statuses.count(200) == len(function.calls) - calls
    last = next(answer for answer in reversed(answers) if answer.status == 429)
    assert ("1", 429, "Too Many Requests") == (last.headers["Retry-After"], last.json["status"], last.json["error"])
    assert 200 == http.get("/_/health").status
    assert 0 == end(process)
