"""Several functions in one process: each at its own address, and nothing else."""

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes import child, end, run, start
from tests.system import OURS, Http
from tools.local.processes import free_port
from triggers import asgi


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    port = free_port()
    process = child(
        "pay",
        [sys.executable, "-m", "triggers.serve_owner"],
        tmp_path_factory.mktemp("host"),
        f"http://127.0.0.1:{port}/_/health",
        OWNER="pay",
        PORT=str(port),
        DATABASE_URL=f"postgresql://pay@127.0.0.1:{free_port()}/nothing",
    )
    start(process)
    yield Http(f"http://127.0.0.1:{port}", OURS)
    assert 0 == end(process)


def test_the_process_is_up_when_all_functions_are_loaded(http):
    assert {"status": "UP"} == http.get("/_/health").json


@pytest.mark.parametrize(("name", "ready"), [("pay-sale", 200), ("pay-confirm-sale", 503), ("pay-refund", 503)])
def test_each_function_answers_at_its_address_and_is_ready_without_a_database_if_it_needs_none(http, name, ready):
    assert (200, {"status": "UP"}) == ((answer := http.get(f"/function/{name}/_/health")).status, answer.json)
    assert ready == http.get(f"/function/{name}/_/ready").status


@pytest.mark.parametrize("path", ["/function/pay-sale", "/function/pay-sale/"])
def test_an_address_with_and_without_a_slash_is_the_same(http, path):
    assert (500, "never") == ((answer := http.post(path, data="{}")).status, answer.headers["X-Retry"])


OTHERS = ["billing-withdraw", "billing-withdraw/_/health", "billing-withdraw/_/metrics", "pay-sale-x"]


@pytest.mark.parametrize("path", ["/", "/function", "/health", *(f"/function/{other}" for other in OTHERS)])
def test_other_paths_are_404(http, path):
    assert (404, {"error": "expected /function/<name>"}) == ((answer := http.get(path)).status, answer.json)


def test_a_strangers_body_is_not_waited_for(http):
    head = b"POST /function/pay-sale HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(http.base[-5:])), timeout=asgi.BODY_SECONDS / 2) as connection:
        connection.sendall(head)
        assert b"HTTP/1.1 503" == connection.recv(12)


def test_a_probe_without_a_token_that_waits_for_the_database_holds_up_no_other(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as thread:
        port = free_port()
        environment = {
            "OWNER": "pay",
            "PORT": str(port),
            "DATABASE_URL": f"postgresql://pay@127.0.0.1:{silent.getsockname()[1]}/nothing",
        }
        http = Http(f"http://127.0.0.1:{port}")
        process = child(
            "pay", [sys.executable, "-m", "triggers.serve_owner"], tmp_path, f"{http.base}/_/health", **environment
        )
        start(process)
        ready = thread.submit(http.get, "/function/pay-refund/_/ready")
        with silent.accept()[0]:
            assert 200 == http.get("/_/health").status
            assert not ready.done()
        assert 503 == ready.result().status
        assert 0 == end(process)


def test_an_unknown_owner_is_answered_with_those_that_there_are():
    answer = run("triggers.serve_owner", OWNER="nobody", PORT=20001)
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert line.startswith("cannot start: OWNER: expected one of auth, order, pay, billing, ")
    assert line.endswith("; got nobody")


def test_a_setting_that_is_missing_ends_it_with_one_line():
    answer = run("triggers.serve_owner", OWNER="pay", PORT=20001)
    assert 1 == answer.returncode
    assert [
        "cannot start: DATABASE_URL is not set: PostgreSQL address of the owner's role"
    ] == answer.stderr.splitlines()


def test_help_says_how_to_use_it():
    answer = run("triggers.serve_owner", "--help")
    assert (0, True) == (answer.returncode, "OWNER" in answer.stdout)
