"""Traces: one context goes with an order from its request to its mail, whoever else writes spans or none."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from functions.shared.events import BATCH, STRUCTURED
from functions.shared.telemetry import traces
from functions.shared.telemetry.traces import Trace
from tests.broker import TYPES, Broker
from tests.clients import API, order_of, person
from tests.processes import end
from tests.spans import Receiver
from tests.system import System, eventually
from tests.triggers.dispatcher.behaviour import hold_up, reply_to
from tests.triggers.test_ingress import EVENT, http_of, ingress_of
from tests.triggers.test_stack import imported_by
from tools.local.environment import ROOT
from tools.local.postgres import Postgres
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers import wire

STEPS = [
    *("order-new-order", "pay-sale", "billing-withdraw", "pay-confirm-sale", "store-booking-food"),
    *("delivery-booking-courier", "order-result", "notification-send-email"),
]
# A list that is kept for a while: whoever needs it first asks for it, in the trace of its own request.
ASKED_NOW_AND_THEN = {"auth-revocations"}


def context(state: str = "") -> Trace:
    """A trace that nobody else has."""
    return Trace(f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01", state)


# The context itself


@pytest.mark.parametrize(
    "wrong",
    ["", "00", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
     "ff-" + "1" * 32 + "-" + "1" * 16 + "-01", "00-" + "A" * 32 + "-" + "1" * 16 + "-01"],
)  # fmt: skip
def test_what_is_no_traceparent_is_none(wrong):
    assert traces.extract({"traceparent": wrong, "tracestate": "a=b"}.get) is None


def test_a_tracestate_that_is_too_long_is_left_out_and_the_trace_goes_on():
    came = context()

    assert came == traces.extract({"traceparent": came.traceparent, "tracestate": "x" * 513}.get)


def test_what_is_done_within_a_trace_belongs_to_it_and_nothing_after_that():
    came = context("vendor=1")

    with traces.within(came):
        assert {"traceparent": came.traceparent, "tracestate": "vendor=1"} == traces.inject()
    assert {} == traces.inject()


# On the wire


def test_the_headers_of_a_message_have_both_or_none():
    with_state = wire.from_http({**binary(), "traceparent": (came := context()).traceparent}, b"{}")

    assert {"traceparent": came.traceparent, "tracestate": ""}.items() <= wire.to_amqp_headers(with_state).items()
    assert not set(traces.NAMES) & wire.to_amqp_headers(wire.from_http(binary(), b"{}")).keys()


def binary(**more: str) -> dict[str, str]:
    return {f"ce-{name}": value for name, value in (EVENT | more).items()} | {"Content-Type": "application/json"}


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_the_extension_of_the_event_goes_before_the_header(mode):
    header, own = context(), context("own=1")
    extension = own.headers()
    if mode == "binary":
        event = wire.from_http({**binary(**extension), **header.headers()}, b"{}")
    else:
        body = json.dumps(EVENT | extension | {"data": {}}).encode()
        event = wire.from_http({"Content-Type": STRUCTURED, **header.headers()}, body)

    assert own == event.trace
    assert not set(traces.NAMES) & event.attributes.keys()


def test_a_trace_comes_through_rabbitmq_and_is_a_header_for_the_function():
    came = context("vendor=1")
    sent = wire.from_http({**binary(), **came.headers()}, b"{}")

    arrived = wire.from_amqp(wire.to_amqp_headers(sent), "application/json", b"{}")

    assert came == arrived.trace
    assert came.headers().items() <= wire.to_http(arrived)[0].items()


# Processes that send no spans pass it on


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    yield made
    made.close()


def test_the_ingress_writes_the_trace_of_the_request_into_the_message(broker):
    queue, process, came = broker.listen(TYPES["one"]), ingress_of(broker), context("vendor=1")
    process.start()
    try:
        eventually(process.check, "the ingress")
        http_of(process).post("/", data="{}", headers={**binary(), **came.headers()})

        (message,) = broker.take(queue)
    finally:
        end(process)
    assert came == Trace(message.headers["traceparent"], message.headers["tracestate"])


def test_a_function_gets_the_trace_as_a_header_and_its_reply_goes_on_with_it(broker):
    came = context("vendor=1")
    replies = broker.listen("homework.arch.test.reply")
    broker.one.behave = reply_to
    broker.start("one")

    broker.publish("a", **came._asdict())

    (call,) = broker.one.wait_for(1)
    assert came == Trace(call.headers["traceparent"], call.headers["tracestate"])
    (reply,) = broker.take(replies)
    assert came == Trace(reply.headers["traceparent"], reply.headers["tracestate"])


def test_events_of_a_batch_have_each_their_own_trace_and_so_have_the_replies(broker):
    def answer(call: object) -> tuple[int, dict[str, str], bytes]:
        events = [event | {"id": event["id"] + "-reply", "type": "homework.arch.test.reply",
                           "causationid": event["id"]} for event in call.events]  # fmt: skip
        answered = [{name: value for name, value in event.items() if name not in traces.NAMES} for event in events]
        return 200, {"Content-Type": BATCH}, json.dumps(answered).encode()

    replies = broker.listen("homework.arch.test.reply")
    broker.start("one")
    gate, came = hold_up(broker), {id: context() for id in "ab"}
    for id, trace in came.items():
        broker.publish(id, **trace._asdict())
    eventually(lambda: broker.waiting(broker.queue("one")) == 0, "the events with the dispatcher")
    broker.one.behave = answer
    gate.open()

    _, batch = broker.one.wait_for(2)
    assert came == {event["id"]: Trace(event["traceparent"]) for event in batch.events}
    assert "traceparent" not in batch.headers
    received = {message.headers["id"]: message.headers["traceparent"] for message in broker.take(replies, 2)}
    assert {f"{id}-reply": trace.traceparent for id, trace in came.items()} == received


# Processes that send spans


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver().start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def own_directory(directory: Path, secrets: Path) -> Path:
    """With the passwords that the server's roles have already."""
    (directory / "traced").mkdir()
    (directory / "traced" / "secrets").symlink_to(secrets)
    return directory / "traced"


@pytest.fixture(scope="module")
def traced(
    receiver: Receiver, own_directory: Path, postgres: Postgres, rabbitmq: RabbitMQ, fresh_database: Callable
) -> Iterator[System]:
    """A system of its own, on queues of its own, that sends its spans."""
    spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    system = System(own_directory, postgres, rabbitmq, fresh_database(), **spans)
    system.process("broker").environment["EXCHANGE_NAME"] = "traced.events"
    try:
        yield system.start()
    finally:
        system.stop()


def test_one_trace_goes_over_the_whole_chain_of_an_order(traced, receiver):
    came = context()
    order = place_order(traced, came.headers())

    spans = eventually(partial(whole_chain, receiver, came), "a span for every step", 60)

    delivered = [span.name for span in spans if span.name.startswith("deliver ")]
    assert {f"deliver {step}" for step in STEPS} == set(delivered)
    assert {"order-submit", *STEPS} == {span.name for span in spans} - set(delivered)
    # Every span hangs on another one, and the first on the client's.
    client = came.traceparent.split("-")[2]
    assert {span.parent for span in spans} <= {span.id for span in spans} | {client}
    assert ["order-submit"] == [span.name for span in spans if span.parent == client]
    assert {"handled"} == {span.facts["outcome"] for span in spans if span.name in STEPS}
    owners = {step.partition("-")[0] for step in STEPS}
    assert {"broker", *owners} == {span.process for span in spans}
    assert order


def place_order(system: System, headers: dict[str, str]) -> str:
    """Register, add money and order, through the public host; the trace is that of the order alone."""
    guest = person()
    assert system.gateway.post(f"{API}/auth/registration", json=guest).json["status"] == "OK"
    token = system.gateway.post(f"{API}/auth/token", json=guest).json["access_token"]
    money = {"username": guest["username"], "amount": "1000"}
    assert system.gateway.post(f"{API}/external/user/balance/add", json=money, token=token).json["status"] == "OK"
    body = order_of(SimpleNamespace(**guest))
    return system.gateway.post(f"{API}/external/order", json=body, token=token, headers=headers).json["orderId"]


def whole_chain(receiver: Receiver, came: Trace) -> list | None:
    spans = [span for span in receiver.of(came.traceparent.split("-")[1]) if span.name not in ASKED_NOW_AND_THEN]
    wanted = {"order-submit", *STEPS, *(f"deliver {step}" for step in STEPS)}
    return spans if wanted <= {span.name for span in spans} else None


def test_a_call_from_function_to_function_is_one_trace(traced, receiver):
    came = context()

    traced.gateway.post(f"{API}/auth/registration", json=person(), headers=came.headers())

    def both() -> bool:
        return {"auth-registration", "billing-client-create"} <= {s.name for s in receiver.of(came.traceparent[3:35])}

    eventually(both, "the spans of the function and of the one that it calls")


def test_a_dead_letter_is_in_the_trace_of_the_event_that_it_was(traced, receiver):
    came = context()
    body = json.dumps(EVENT | {"type": "homework.arch.order.result", "id": uuid.uuid4().hex, "data": {"a": 1}})

    assert 202 == traced.broker.post(data=body, headers={"Content-Type": STRUCTURED, **came.headers()}).status

    def outcomes() -> set[tuple[str, str]]:
        return {(span.name, span.facts["outcome"]) for span in receiver.of(came.traceparent[3:35])}

    failed = {("deliver order-result", "failed"), ("order-result", "never")}
    kept = {("deliver ops-dead-letter", "done"), ("ops-dead-letter", "ok")}
    eventually(lambda: failed | kept <= outcomes(), "the spans of both deliveries and both functions")


# What it costs who does not want it


@pytest.mark.parametrize("source", ["functions/pay/sale.py", "functions/order/submit.py", "triggers/dispatcher.py"])
def test_without_the_setting_opentelemetry_is_not_even_loaded(source):
    assert not [name for name in imported_by(source) if name.startswith(("opentelemetry", "google.protobuf"))]


def started(endpoint: str, path: str) -> tuple[int, str]:
    """Exit status and last words of a function's process that ends at its start, or else in a moment."""
    function = {"FUNCTION_SOURCE": "functions/pay/sale.py", "FUNCTION_TARGET": "sale", "PORT": str(free_port())}
    environment = os.environ | function | {"PYTHONPATH": path, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    ended = "import triggers.serve_function as a; a.serve_functions = lambda *_: None; a.main()"
    command = [sys.executable, "-c", ended]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_with_the_setting_and_without_the_packages_no_process_starts_and_says_why_in_one_line(tmp_path):
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('gone', name='opentelemetry')")

    status, said = started("http://127.0.0.1:9", f"{tmp_path}:{ROOT}")

    assert (1, 1) == (status, len(said.splitlines()))
    assert said.startswith("cannot start: OTEL_EXPORTER_OTLP_ENDPOINT is set and opentelemetry is not installed")


def test_an_endpoint_that_is_no_http_address_is_reported_in_one_line():
    status, said = started("collector:4317", str(ROOT))

    assert (1, 1) == (status, len(said.splitlines()))
    assert said.startswith("cannot start: OTEL_EXPORTER_OTLP_ENDPOINT is wrong")


def test_with_the_setting_and_the_packages_a_process_starts():
    assert (0, "") == started("http://127.0.0.1:9", str(ROOT))
