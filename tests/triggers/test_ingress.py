"""The ingress: 202 means that RabbitMQ has it, else it is said why not; and how every process starts and stops."""

import contextlib
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import TYPES, Broker
from tests.processes import end, log_of, run, start, trigger
from tests.system import OURS, TOKEN, Http, eventually
from tools.local.children import Child
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ

EVENT = {"specversion": "1.0", "id": "a", "source": "/test", "type": TYPES["one"], "subject": "order-1"}
BINARY = {f"ce-{name}": value for name, value in EVENT.items()} | {"Content-Type": "application/json"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"
PROCESSES = ["ingress", "dispatcher", "broker", "cron", "gateway"]


@pytest.fixture(scope="module")
def broker(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path_factory.mktemp("ingress"))
    yield made
    made.close()


def ingress_of(broker: Broker) -> Child:
    return broker.prepared(name="ingress", port=free_port())


@pytest.fixture(scope="module")
def process(broker: Broker) -> Iterator[Child]:
    running = start(ingress_of(broker))
    yield running
    end(running)


def http_of(process: Child) -> Http:
    return Http(f"http://127.0.0.1:{process.environment['PORT']}", OURS)


@pytest.fixture(scope="module")
def ingress(process: Child) -> Http:
    return http_of(process)


# -- taken ----------------------------------------------------------------------------------------------------------


def test_202_means_that_the_event_is_in_its_queue_as_knatives_ingress_writes_it(broker, ingress):
    answer = ingress.post("/", data='{"amount":39.00}', headers={**BINARY, "ce-time": "2026-11-23T12:00:00Z"})
    assert (202, "") == (answer.status, answer.text)
    assert 1 == broker.waiting(broker.queue("one"))
    (message,) = broker.take(broker.queue("one"))
    assert {**EVENT, "time": "2026-11-23T12:00:00Z", "content-type": "application/json"} == message.headers
    assert b'{"amount":39.00}' == message.body
    properties = message.properties
    assert ("a", "application/json", 2) == (properties.message_id, properties.content_type, properties.delivery_mode)


def test_a_structured_event_becomes_the_same_message(broker, ingress):
    body = json.dumps(EVENT)[:-1] + ',"data":{"amount":0.10}}'
    assert 202 == ingress.post("/", data=body, headers=STRUCTURED).status
    (message,) = broker.take(broker.queue("one"))
    assert (EVENT["id"], b'{"amount":0.10}') == (message.headers["id"], message.body)
    assert message.headers["time"].endswith("Z")


def test_a_batch_becomes_one_message_for_each_event_in_its_own_trace(broker, ingress):
    traced = {**EVENT, "id": "b", "traceparent": TRACEPARENT, "data": {"amount": 1}}
    assert 202 == ingress.post("/", data=json.dumps([EVENT, traced]), headers=BATCH).status
    first, second = broker.take(broker.queue("one"), 2)
    assert ("a", b"", None) == (first.headers["id"], first.body, first.headers.get("traceparent"))
    assert ("b", b'{"amount":1}', TRACEPARENT) == (
        second.headers["id"], second.body, second.headers["traceparent"],
    )  # fmt: skip


def test_a_batch_of_hundreds_is_one_answer_and_loses_none(broker, process, ingress):
    ids = [f"e{n:03}" for n in range(300)]
    answer = ingress.post("/", data=json.dumps([{**EVENT, "id": id} for id in ids]), headers=BATCH)
    assert (202, "") == (answer.status, answer.text)
    assert ids == [message.headers["id"] for message in broker.take(broker.queue("one"), 300)]
    assert 300 == len([line for line in log_of(process) if line.get("batch") == 300])


def test_a_batch_without_events_is_taken(broker, ingress):
    assert 202 == ingress.post("/", data="[]", headers=BATCH).status
    assert 0 == broker.waiting(broker.queue("one"))


def test_an_event_that_no_trigger_takes_is_202_and_a_warning(process, ingress):
    assert 202 == ingress.post("/", data="{}", headers={**BINARY, "ce-type": "homework.arch.no.body"}).status
    (line,) = [line for line in log_of(process) if line["message"] == "no trigger takes this event"]
    assert ("warning", "homework.arch.no.body", "a") == (line["level"], line["type"], line["id"])


def test_the_log_has_event_order_time_and_outcome(broker, process, ingress):
    ingress.post("/", data='{"email":"a@b.ru"}', headers={**BINARY, "ce-id": "logged"})
    broker.take(broker.queue("one"))
    (line,) = [line for line in log_of(process) if line.get("id") == "logged"]
    assert ("event taken", "info", "order-1", 202) == (line["message"], line["level"], line["order"], line["outcome"])
    assert line["ms"] > 0
    assert TOKEN not in process.log.read_text() and "a@b.ru" not in process.log.read_text()


# -- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({}, "{}", "expected one CloudEvent, in binary mode (ce- headers) or as application/cloudevents+json"),
        ({**BINARY, "ce-id": ""}, "{}", "id: expected a value, got nothing"),
        ({**BINARY, "ce-source": ""}, "{}", "source: expected a value, got nothing"),
        ({**BINARY, "ce-type": ""}, "{}", "type: expected a value, got nothing"),
        ({**BINARY, "ce-specversion": "0.3"}, "{}", "specversion: expected 1.0, got 0.3"),
        (
            {**BINARY, "ce-subject": "a b"},
            "{}",
            "subject: expected printable ASCII without blanks, quotes or percent",
        ),
        ({**BINARY, "ce-subject": "50%25"}, "{}", "subject: expected printable ASCII without blanks"),
        ({**BINARY, "ce-my-name": "x"}, "{}", "'my-name': expected a name of lower-case letters and digits"),
        (STRUCTURED, "", "expected JSON, got something else"),
        (STRUCTURED, "{", "expected JSON, got something else"),
        (STRUCTURED, "[" * 50_000, "expected JSON, got something else"),
        (STRUCTURED, "[]", "expected a CloudEvent as a JSON object, got list"),
        (STRUCTURED, "{}", "specversion: expected a value, got nothing"),
        (STRUCTURED, json.dumps({**EVENT, "data_base64": "?"}), "data_base64: expected base64"),
        (BATCH, json.dumps(EVENT), "expected a JSON list of CloudEvents, got dict"),
        (BATCH, json.dumps([EVENT, {**EVENT, "source": ""}]), "source: expected a value, got nothing"),
    ],
)
def test_what_is_no_event_is_400_with_the_reason(broker, ingress, headers, body, text):
    answer = ingress.post("/", data=body, headers=headers)
    assert 400 == answer.status
    assert text in answer.json["error"]
    assert 0 == broker.waiting(broker.queue("one"))


def test_an_event_with_the_longest_attributes_still_fits_into_rabbitmq(broker, ingress):
    longest = {f"note{n}": "x" * 2700 for n in range(34)}
    body = json.dumps({**EVENT, **longest, "id": "i" * 255})
    assert 202 == ingress.post("/", data=body, headers=STRUCTURED).status
    (message,) = broker.take(broker.queue("one"))
    assert longest.items() <= message.headers.items()
    assert "i" * 255 == message.properties.message_id


def test_other_paths_are_404(ingress):
    answer = ingress.post("/events", data="{}", headers=BINARY)
    assert (404, {"error": "expected a POST to /, got /events"}) == (answer.status, answer.json)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_405(ingress, method):
    answer = ingress.request(method, "/")
    assert (405, "POST", {"error": "expected POST"}) == (answer.status, answer.headers["Allow"], answer.json)


def test_clients_that_send_half_an_event_hold_up_nobody(broker, process, ingress):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 100\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            address = ("127.0.0.1", int(process.environment["PORT"]))
            stack.enter_context(socket.create_connection(address)).sendall(head + b'{"half')
        assert 202 == ingress.post("/", data=json.dumps({**EVENT, "id": "whole"}), headers=STRUCTURED).status
    assert ["whole"] == [event.headers["id"] for event in broker.take(broker.queue("one"))]


def test_a_body_over_a_mebibyte_is_413(broker, ingress):
    answer = ingress.post("/", data="1" * (1024 * 1024 + 1), headers=BINARY)
    assert (413, {"error": "expected at most 1048576 bytes"}) == (answer.status, answer.json)
    assert 202 == ingress.post("/", data="1" * 1024 * 1024, headers=BINARY).status
    assert 1024 * 1024 == len(broker.take(broker.queue("one"))[0].body)


def test_what_rabbitmq_refuses_is_503_and_may_be_sent_again(broker, ingress):
    full, type = f"{broker.exchange}.full", "homework.arch.test.full"
    arguments = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    broker.channel.queue_declare(full, exclusive=True, arguments=arguments)
    broker.channel.queue_bind(full, broker.exchange, "", {"x-match": "all", "type": type})
    batch = json.dumps([{**EVENT, "id": id, "type": type} for id in ("a", "b")])
    answer = ingress.post("/", data=batch, headers=BATCH)
    assert (503, "1") == (answer.status, answer.headers["Retry-After"])
    assert {"error": "RabbitMQ refused the message"} == answer.json
    broker.channel.queue_purge(full)
    assert 202 == ingress.post("/", data=json.dumps({**EVENT, "type": type}), headers=STRUCTURED).status


# -- RabbitMQ away --------------------------------------------------------------------------------------------------


def test_while_rabbitmq_is_away_503_and_afterwards_202_again(directory, tmp_path):
    server = RabbitMQ(directory / "rabbitmq-ingress", free_port())
    server.start()
    broker = Broker(server, tmp_path)
    process = start(ingress_of(broker))
    ingress = http_of(process)
    assert (200, {"status": "UP"}) == (ingress.get("/health").status, ingress.get("/health").json)

    broker.disconnect()
    server.stop()
    answer = ingress.post("/", data="{}", headers=BINARY)
    assert (503, "1") == (answer.status, answer.headers["Retry-After"])
    assert "RabbitMQ" in answer.json["error"]
    eventually(lambda: ingress.get("/health").status == 503, "the ingress to see it")
    assert {"status": "DOWN"} == ingress.get("/_/ready").json

    server.start()
    eventually(lambda: ingress.post("/", data="{}", headers=BINARY).status == 202, "202 again")
    broker.connect()
    assert 1 == broker.waiting(broker.queue("one"))
    assert 0 == end(process)
    broker.close()
    server.remove()


def test_an_ingress_without_rabbitmq_starts_and_says_503(tmp_path):
    process = trigger("ingress", tmp_path, free_port(), AMQP_URL=f"amqp://127.0.0.1:{free_port()}/")
    process.start()
    ingress = http_of(process)
    eventually(lambda: _status(ingress) == 503, "an answer")
    assert {"error": "RabbitMQ is not there"} == ingress.post("/", data="{}", headers=BINARY).json
    eventually(lambda: "RabbitMQ not reached" in process.log.read_text(), "a word in the log")
    assert 0 == end(process, seconds=10)


def _status(http: Http) -> int | None:
    try:
        return http.post("/", data="{}", headers=BINARY).status
    except Exception:
        return None


# -- how the processes start and stop -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROCESSES)
def test_help_says_what_a_process_is_for(name):
    answer = run(f"triggers.{name}", "--help")
    assert 0 == answer.returncode
    assert len(answer.stdout) > 200 and answer.stderr == ""


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("ingress", ["AMQP_URL", "EXCHANGE_NAME", "PORT", "HOST", "QUEUE_TYPE"]),
        ("dispatcher", ["AMQP_URL", "FUNCTION_URLS", "FUNCTION_URL", "DISPATCHER_TRIES", "DISPATCHER_WORKERS"]),
        ("broker", ["AMQP_URL", "PORT", "FUNCTION_URLS", "DISPATCHER_AHEAD"]),
        ("cron", ["FUNCTION_URLS", "CRON_TIMEOUT_SECONDS", "CRON_EVERY_SECONDS"]),
        ("gateway", ["PORT", "FUNCTION_URLS", "GATEWAY_TIMEOUT_SECONDS"]),
    ],
)
def test_help_names_the_environment_with_meaning_and_default(name, variables):
    text = run(f"triggers.{name}", "--help").stdout.partition("Environment:\n")[2]
    entries = dict(re.findall(r"^  ([A-Z_]+)\s+(.+?)(?=^  [A-Z_]|\Z)", text, re.MULTILINE | re.DOTALL))
    assert {*variables} <= set(entries)
    assert all(len(meaning) > 10 for meaning in entries.values())
    assert "[required]" in entries.get("INSTALLATION_TOKEN", "[required]")
    assert "[default: 127.0.0.1]" in entries["HOST"]


def test_arguments_that_no_process_takes_are_refused():
    answer = run("triggers.cron", "now")
    assert (2, "Error: Got unexpected extra argument (now)") == (answer.returncode, answer.stderr.splitlines()[-1])


@pytest.mark.parametrize("module", ["triggers.gateway", "triggers.serve_owner"])
def test_a_level_of_logs_that_there_is_not_is_reported_in_one_line(module):
    answer = run(module, LOG_LEVEL="loud", OWNER="pay", DATABASE_URL="postgresql://pay@127.0.0.1/nothing")
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert line.startswith("cannot start: LOG_LEVEL is wrong") and line.endswith("least level that is logged")


def test_everything_that_is_wrong_with_the_environment_is_reported_in_one_line():
    answer = run("triggers.ingress", PORT="much", QUEUE_TYPE="fast")
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert line.startswith("cannot start: AMQP_URL is not set: address of RabbitMQ")
    assert "PORT is wrong" in line and "QUEUE_TYPE is wrong" in line


@pytest.mark.parametrize("url", ["http://localhost", "amqp://host:port/", "amqp://host:99999/"])
@pytest.mark.parametrize("name", ["ingress", "dispatcher", "broker"])
def test_a_wrong_address_of_rabbitmq_is_reported_in_one_line(name, url):
    answer = run(f"triggers.{name}", AMQP_URL=url, PORT=free_port())
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert line.startswith("cannot start: AMQP_URL is wrong")


@pytest.mark.parametrize("name", ["ingress", "broker", "gateway"])
def test_a_taken_port_is_reported_in_one_line(name):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        answer = run(f"triggers.{name}", AMQP_URL="amqp://127.0.0.1/", PORT=port)
    assert 1 == answer.returncode
    (line,) = answer.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line and line.endswith("end what uses it, or set PORT")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_ends_the_ingress_cleanly(broker, number):
    process = start(ingress_of(broker))
    assert 202 == http_of(process).post("/", data="{}", headers=BINARY).status
    broker.take(broker.queue("one"))
    assert 0 == end(process, number, seconds=10)


def test_a_file_may_hold_what_a_variable_would(tmp_path: Path):
    path = tmp_path / "url"
    path.write_text("http://nobody\n")
    assert "AMQP_URL is wrong" in run("triggers.ingress", AMQP_URL_FILE=path).stderr
