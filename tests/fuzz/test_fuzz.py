"""The fuzzer: a seed is the same inputs again, and what must not be is seen."""

import socket
import subprocess
import sys
from threading import Thread

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase

from tests.fuzz import inputs
from tests.fuzz.api import Api
from tests.fuzz.inputs import Input
from tests.fuzz.judge import changes_nothing, problems
from tests.fuzz.watchdog import Process, Watchdog
from tests.fuzz.wire import exchange, statuses

PARTS = {
    "calls": inputs.calls,
    "strangers": lambda: inputs.calls(strangers=True),
    "steps": inputs.steps,
    "events": lambda: inputs.events("ingress", "/", inputs.TYPES),
    "pipelines": lambda: inputs.pipelines("gateway"),
    "broken": lambda: inputs.broken("ingress"),
}


def some(strategy, seed, size=20):
    """What a window of that seed sends."""
    sent = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=size, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @hypothesis.given(strategy)
    def send(given):
        sent.append(given)

    send()
    return sent


@pytest.mark.parametrize("part", PARTS)
def test_a_seed_is_the_same_inputs_again(part):
    first, again, other = (some(PARTS[part](), seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_every_public_method_is_called():
    document = {(operation.method.upper(), operation.path) for operation in Api().operations}
    assert {*inputs.PUBLIC} == document


def test_strangers_bring_no_token_that_is_good():
    tokens = (b"@BEARER@\r\n", b"@ADMIN@\r\n", b"@OURS@\r\n")
    assert not [one for one in some(inputs.calls(strangers=True), 3) if any(token in one.data for token in tokens)]


@pytest.fixture
def worker():
    """A process that does what it is told, line by line."""
    code = "import sys\nfor line in sys.stdin:\n    exec(line)\n    print(flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        process.stdout.readline()

    do("import time")
    do.process = process
    yield do
    process.kill()
    process.wait()


def test_the_watchdog_sees_what_is_given_back_again(worker):
    watchdog = Watchdog([Process("worker", worker.process.pid)])
    cost = watchdog.cost_of(lambda: worker("len(b'x' * 50_000_000)"))
    assert 45 < cost.memory < 60
    assert watchdog.cost_of(lambda: worker("pass")).memory < 5


def test_the_watchdog_sees_processor_time_and_not_time(worker):
    watchdog = Watchdog([Process("worker", worker.process.pid)])
    spin = b"began = time.process_time()\nwhile time.process_time() < began + 0.2: pass".hex()
    assert watchdog.cost_of(lambda: worker(f"exec(bytes.fromhex('{spin}'))")).cpu >= 0.15
    assert watchdog.cost_of(lambda: worker("time.sleep(0.2)")).cpu < 0.1


def test_the_watchdog_sees_the_end_of_a_process(worker):
    watchdog = Watchdog([Process("worker", worker.process.pid)])
    assert [] == watchdog.ended()
    worker.process.kill()
    worker.process.wait()
    assert ["worker"] == watchdog.ended()


NEVER = b"HTTP/1.1 500 Internal Server Error\r\nX-Retry: never\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "answers", "wrong"),
    [
        ("gateway", b"HTTP/1.1 500 x\r\n\r\n", ["answered 500"]),
        ("gateway", b"HTTP/1.1 503 x\r\nRetry-After: 1\r\n\r\n", ["answered 503"]),
        ("gateway", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 x\r\n\r\n", []),
        ("gateway", b"", ["closed without an answer"]),
        ("ingress", NEVER, ["answered 500"]),
        ("pay-sale", NEVER, []),
        ("pay-sale", b"HTTP/1.1 500 x\r\n\r\n", ["answered 500"]),
        ("pay-sale", b"HTTP/1.1 200 x\r\n\r\n", []),
    ],
)
def test_an_answer_that_must_not_be_given_is_a_finding(target, answers, wrong):
    assert wrong == problems(Input(target, (b"x",)), statuses(answers), answers)


@pytest.mark.parametrize(("answered", "nothing"), [([400], True), ([], True), ([401, 404], True), ([200], False)])
def test_what_was_refused_may_have_changed_nothing(answered, nothing):
    assert nothing is changes_nothing(Input("gateway", (b"x",)), answered)
    assert changes_nothing(Input("gateway", (b"x",), reads=True), answered)


def test_placeholders_are_filled_and_the_answer_is_read_to_its_end():
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard = []

        def answer():
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(100))
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        serving = Thread(target=answer)
        serving.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        answers = exchange(address, Input("x", (b"@BEARER@",)), {b"@BEARER@": b"secret"})
        serving.join()
    assert ([204], [b"secret"]) == (statuses(answers), heard)
