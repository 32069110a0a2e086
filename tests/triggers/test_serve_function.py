"""One function in a process of its own, as images start it."""

import sys
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.processes import child, end, run, start
from tests.system import OURS, Http
from tools.local.processes import free_port
from triggers.server import KEEP_ALIVE

SALE = {"FUNCTION_SOURCE": "functions/pay/sale.py", "FUNCTION_TARGET": "sale"}
# How long Go's HTTP client keeps an idle connection by default, and with it Knative's proxy and OpenFaaS' gateway.
CALLERS_KEEP = 90


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {**SALE, "PORT": str(port), "DATABASE_URL": f"postgresql://pay@127.0.0.1:{free_port()}/nothing"}
    command = [sys.executable, "-m", "triggers.serve_function"]
    process = child("pay-sale", command, tmp_path_factory.mktemp("alone"), f"{url}/_/health", **variables)
    start(process)
    yield Http(url, OURS)
    assert 0 == end(process)


def test_it_is_the_function_at_any_path(http):
    assert {"status": "UP"} == http.get("/_/health").json
    assert (500, "never") == ((answer := http.post("/", data="{}")).status, answer.headers["X-Retry"])


def test_a_connection_is_kept_from_one_request_to_the_next(http):
    connection = HTTPConnection(http.base.removeprefix("http://"), timeout=10)
    sockets = set()
    for _ in range(2):
        connection.request("GET", "/_/health")
        answer = connection.getresponse()
        assert (200, b'{"status":"UP"}') == (answer.status, answer.read())
        sockets.add(connection.sock)
    assert len(sockets) == 1 and None not in sockets


def test_it_keeps_connections_for_longer_than_its_callers_do():
    assert CALLERS_KEEP < KEEP_ALIVE


def test_what_is_not_set_is_named_in_one_line():
    answer = run("triggers.serve_function")
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert line.startswith("cannot start: FUNCTION_SOURCE is not set: the function's file; FUNCTION_TARGET is not")


def test_a_file_that_is_not_there_is_named_in_one_line():
    answer = run("triggers.serve_function", **SALE | {"FUNCTION_SOURCE": "functions/pay/nothing.py"})
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert line.startswith("cannot start: ") and "functions/pay/nothing.py" in line


def test_a_setting_of_the_function_that_is_missing_ends_it_with_one_line():
    source = {"FUNCTION_SOURCE": "functions/pay/confirm_sale.py", "FUNCTION_TARGET": "confirm_sale"}
    answer = run("triggers.serve_function", **source)
    assert 1 == answer.returncode
    assert ["cannot start: DATABASE_URL is not set: PostgreSQL address of the owner's role"] == (
        answer.stderr.splitlines()
    )
