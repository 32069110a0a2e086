"""The connector: what OpenFaaS' gateway lists gets its events, and whatever is away loses none."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker import TYPES, Broker
from tests.fakes import BATCH, Call, FakeFunction, Reply, nothing
from tests.processes import end, log_of, run, start, trigger
from tests.system import OURS, eventually
from tools.local.children import Child
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers.connector import Deployment, Subscriber, subscribers

LATE = "homework.arch.test.late"
REPLY = "homework.arch.test.reply"
PASSWORD = "secret-1"
ALLOWED = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()


class Gateway:
    """OpenFaaS' gateway as the connector meets it: a list for those who may see it, and functions for everybody."""

    def __init__(self) -> None:
        self.deployed: dict[str, dict[str, str] | None] = {}
        self.behave: Callable[[Call], Reply] = nothing
        self.list_status = 200
        self.server = FakeFunction(self._answer)

    def _answer(self, call: Call) -> Reply:
        if call.path != "/system/functions":
            return self.behave(call)
        if call.headers.get("authorization") != ALLOWED:
            return 401, {}, b"unauthorized"
        functions = [{"name": name, "image": "x", "annotations": notes} for name, notes in self.deployed.items()]
        return self.list_status, {"Content-Type": "application/json"}, json.dumps(functions).encode()

    def deploy(self, name: str, **notes: str) -> None:
        self.deployed[name] = notes

    @property
    def calls(self) -> list[Call]:
        """The calls of functions."""
        return [call for call in self.server.calls if call.path != "/system/functions"]

    @property
    def ids(self) -> list[str]:
        return [id for call in self.calls for id in call.ids]


class Connected:
    """The gateway, the broker, and the connector between them."""

    def __init__(self, broker: Broker):
        self.broker, self.gateway = broker, Gateway()
        self.gateway.server.start()
        self.gateway.deploy("one", topic=TYPES["one"])

    def start(self, **settings: object) -> Child:
        process = trigger(
            "connector",
            self.broker.directory,
            **{
                "AMQP_URL": self.broker.rabbitmq.url,
                "EXCHANGE_NAME": self.broker.exchange,
                "STACK_FILE": self.broker.stack,
                "CONNECTOR_GATEWAY_URL": self.gateway.server.url + "/",
                "CONNECTOR_REBUILD_SECONDS": 0.1,
                "BASIC_AUTH_PASSWORD": PASSWORD,
                "DISPATCHER_BACKOFF_SECONDS": 0.1,
                "DISPATCHER_WORKERS": 1,
                **settings,
            },
        )
        self.broker.processes.append(process)
        return start(process)

    def said(self, message: str) -> list[dict]:
        return [line for line in log_of(self.broker.processes[-1]) if line["message"] == message]

    def waits_for(self, *ids: str) -> None:
        eventually(lambda: {*ids} <= {*self.gateway.ids}, f"calls with {ids}, came {self.gateway.ids}")

    def done(self, *ids: str) -> None:
        eventually(lambda: all("done" in self.broker.outcomes(id) for id in ids), f"{ids} done")


@pytest.fixture
def connected(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Connected]:
    broker = Broker(rabbitmq, tmp_path)
    made = Connected(broker)
    yield made
    broker.close()
    made.gateway.server.stop()
    broker.connect()
    broker.channel.queue_delete(broker.queue("late"))
    broker.channel.connection.close()


def failing(times: int, status: int, headers: dict[str, str] | None = None) -> Callable[[Call], Reply]:
    """Behaviour that fails so often, and works then."""
    left = iter(range(times))
    return lambda call: nothing(call) if next(left, None) is None else (status, headers or {}, b"no")


def replying(call: Call, type: str = REPLY) -> Reply:
    """Each event is answered with one that follows, in the form in which it came."""
    events = [{"specversion": "1.0", "id": f"{id}-reply", "source": "/one", "type": type} for id in call.ids]
    if call.is_batch:
        return 200, {"Content-Type": BATCH}, json.dumps([{**event, "data": {}} for event in events]).encode()
    return 200, {f"ce-{name}": value for name, value in events[0].items()}, b"{}"


# -- who is served --------------------------------------------------------------------------------------------------


def test_a_listed_function_gets_the_events_of_its_topic_through_the_gateway(connected):
    process = connected.start()
    connected.broker.publish("a", body=b'{"amount":39.00}')
    connected.done("a")
    (call,) = connected.gateway.calls
    assert ("POST", "/function/one", b'{"amount":39.00}') == (call.method, call.path, call.body)
    assert ("a", TYPES["one"]) == (call.headers["ce-id"], call.headers["ce-type"])
    connected.broker.nothing_left(process)


def test_the_password_is_for_the_list_and_goes_to_no_function(connected):
    connected.start()
    connected.broker.publish("a")
    connected.done("a")
    assert OURS["Authorization"] == connected.gateway.calls[0].headers["authorization"]


def test_functions_that_share_a_deployment_are_found_by_their_names_inside(connected):
    connected.gateway.deployed = {"both": {"events": f"one={TYPES['one']} two={TYPES['two']}"}}
    connected.start()
    connected.broker.publish("a", to="one")
    connected.broker.publish("b", to="two")
    connected.done("a", "b")
    assert {("/function/both/function/one", "a"), ("/function/both/function/two", "b")} == {
        (call.path, call.ids[0]) for call in connected.gateway.calls
    }


def test_the_keeper_of_dead_letters_gets_them_through_the_gateway(connected):
    connected.gateway.deploy("ops-dead-letter", topic="dead-letters")
    connected.gateway.behave = lambda call: (
        nothing(call) if "dead" in call.path else (500, {"X-Retry": "never"}, b"bad data")
    )
    connected.start()
    connected.broker.publish("a")
    connected.done("a")
    assert ["/function/one", "/function/ops-dead-letter"] == [call.path for call in connected.gateway.calls]
    assert "one" == connected.gateway.calls[1].headers["ce-knativeerrordest"]


def test_functions_can_be_chosen_by_name(connected):
    connected.gateway.deploy("two", topic=TYPES["two"])
    connected.start(DISPATCHER_TRIGGERS="two")
    connected.broker.publish("a", to="one")
    connected.broker.publish("b", to="two")
    connected.done("b")
    assert 1 == connected.broker.waiting(connected.broker.queue("one"))


@pytest.mark.parametrize("layout", ["flat", "folder"])
def test_the_password_may_be_in_a_file_of_either_layout(connected, tmp_path, layout):
    file = tmp_path / "basic-auth-password"
    if layout == "folder":
        file.mkdir()
    (file / file.name if layout == "folder" else file).write_text(PASSWORD + "\n")
    connected.start(BASIC_AUTH_PASSWORD="", BASIC_AUTH_PASSWORD_FILE=file)
    connected.broker.publish("a")
    connected.done("a")


def test_without_the_right_password_nothing_is_served_and_the_log_says_so(connected):
    connected.start(BASIC_AUTH_PASSWORD="wrong")
    (line, *_) = eventually(lambda: connected.said("gateway gave no list"), "a word about it")
    assert "ValueError: expected 200, got 401 unauthorized" == line["reason"]
    assert [] == connected.said("function served")


# -- they come and go -----------------------------------------------------------------------------------------------


def test_a_function_that_is_deployed_later_gets_its_queue_then(connected):
    process = connected.start()
    connected.broker.consumed("one")
    connected.gateway.deploy("late", topic=LATE)
    connected.broker.consumed("late")
    connected.broker.publish_raw({**headers_of("a"), "type": LATE}, b"{}", "application/json")
    connected.done("a")
    assert "/function/late" == connected.gateway.calls[0].path
    connected.broker.nothing_left(process)


def headers_of(id: str) -> dict[str, str]:
    return {"specversion": "1.0", "id": id, "source": "/test", "content-type": "application/json"}


def test_the_queue_of_a_removed_function_keeps_its_events_until_it_is_deployed_again(connected):
    connected.start()
    connected.broker.consumed("one")
    connected.gateway.deployed.clear()
    connected.broker.consumed("one", 0)
    connected.broker.publish("a", "b")
    assert 2 == connected.broker.waiting(connected.broker.queue("one"))
    connected.gateway.deploy("one", topic=TYPES["one"])
    connected.done("a", "b")


def test_a_function_that_is_removed_disturbs_no_other(connected):
    connected.gateway.deploy("two", topic=TYPES["two"])
    connected.start()
    connected.broker.consumed("two")
    del connected.gateway.deployed["one"]
    connected.broker.consumed("one", 0)
    connected.broker.publish("a", to="two")
    connected.done("a")
    connected.broker.consumed("two")
    assert "RabbitMQ channel closed" not in connected.broker.processes[-1].log.read_text()


def test_a_function_begins_with_a_reply_before_it_is_delivered_while_it_is_listed(connected):
    connected.gateway.deploy("two", topic=TYPES["two"])
    connected.gateway.behave = lambda call: (
        replying(call, TYPES["two"]) if call.path.endswith("one") else nothing(call)
    )
    process = connected.start(DISPATCHER_AHEAD="true")
    connected.broker.consumed("two")
    connected.broker.publish("a")
    connected.done("a", "a-reply")
    del connected.gateway.deployed["two"]
    connected.broker.consumed("two", 0)
    connected.broker.publish("b")
    eventually(lambda: connected.broker.waiting(connected.broker.queue("two")), "the reply to wait")
    connected.gateway.deploy("two", topic=TYPES["two"])
    connected.done("b", "b-reply")
    connected.broker.publish("c")
    connected.done("c", "c-reply")
    connected.broker.nothing_left(process)
    # What was handled just before it was removed may be delivered to it again.
    assert ["a", "a-reply", "b", "b-reply", "c", "c-reply"] == [*dict.fromkeys(connected.gateway.ids)]


def test_what_is_in_flight_when_a_function_is_removed_goes_back_to_its_queue(connected):
    gate = threading.Event()
    connected.gateway.behave = lambda call: gate.wait(30) and nothing(call)
    connected.start()
    connected.broker.publish("a", "b", "c")
    connected.waits_for("a")
    connected.gateway.deployed.clear()
    eventually(lambda: connected.broker.waiting(connected.broker.queue("one")) == 3, "all three in their queue")
    gate.set()
    connected.gateway.deploy("one", topic=TYPES["one"])
    connected.done("a", "b", "c")


def test_a_function_that_moves_to_another_deployment_is_called_there(connected):
    connected.start()
    connected.broker.consumed("one")
    connected.gateway.deployed = {"both": {"events": f"one={TYPES['one']}"}}
    eventually(lambda: connected.said("function gone, its queue stays"), "the old one gone")
    connected.broker.publish("a")
    connected.done("a")
    assert ["/function/both/function/one"] == [call.path for call in connected.gateway.calls]


# -- who is away ----------------------------------------------------------------------------------------------------


def test_without_a_list_what_is_known_is_served_on(connected):
    connected.start()
    connected.broker.consumed("one")
    connected.gateway.list_status = 500
    eventually(lambda: connected.said("gateway gave no list"), "a word about it")
    connected.broker.publish("a")
    connected.done("a")


def test_a_gateway_that_comes_later_is_waited_for(connected):
    connected.gateway.server.stop()
    connected.start()
    eventually(lambda: connected.said("gateway gave no list"), "a word about it")
    connected.broker.publish("a")
    connected.gateway.server.start()
    connected.done("a")


def test_a_gateway_that_is_away_for_a_while_loses_nothing_and_costs_no_tries(connected):
    process = connected.start(DISPATCHER_TRIES=1)
    connected.broker.consumed("one")
    connected.gateway.server.stop()
    connected.broker.publish("a", "b")
    eventually(lambda: unavailable(connected), "the trigger pausing")
    connected.gateway.server.start()
    connected.done("a", "b")
    connected.broker.nothing_left(process)
    assert 0 == connected.broker.waiting(connected.broker.dead_letters)


def unavailable(connected: Connected) -> list[str]:
    outcomes = (line["outcome"] for line in connected.said("delivery"))
    return [outcome for outcome in outcomes if outcome.startswith("function unavailable")]


@pytest.mark.parametrize(
    ("status", "headers"),
    [(status, {}) for status in (404, 429, 502, 504)]
    + [(503, {"X-OpenFaaS-Internal": "proxy"}), (503, {"Retry-After": "1"})],
)
def test_an_answer_that_is_not_the_functions_own_costs_no_tries(connected, status, headers):
    connected.gateway.behave = failing(2, status, headers)
    process = connected.start(DISPATCHER_TRIES=1)
    connected.broker.publish("a")
    connected.done("a")
    assert [f"function unavailable: {status} no"] * 2 == unavailable(connected)
    connected.broker.nothing_left(process)
    assert 0 == connected.broker.waiting(connected.broker.dead_letters)


@pytest.mark.parametrize(("status", "headers"), [(500, {"X-OpenFaaS-Internal": "proxy"}), (500, {}), (503, {})])
def test_an_answer_that_may_be_the_events_fault_counts_as_a_try(connected, status, headers):
    connected.gateway.behave = failing(1, status, headers)
    connected.start()
    connected.broker.publish("a")
    connected.done("a")
    assert ["again in", "done"] == [outcome.partition(" 0.")[0] for outcome in connected.broker.outcomes("a")]


@pytest.fixture
def own_rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    """A node that the test may stop."""
    port = free_port()
    server = RabbitMQ(directory / f"rabbitmq-{port}", port)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def restartable(own_rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Connected]:
    made = Connected(Broker(own_rabbitmq, tmp_path))
    yield made
    for process in made.broker.processes:
        end(process)
    made.gateway.server.stop()


def test_after_a_restart_of_rabbitmq_everything_listed_is_served_again(restartable):
    broker = restartable.broker
    restartable.start()
    broker.consumed("one")
    broker.disconnect()
    broker.rabbitmq.stop()
    restartable.gateway.deploy("late", topic=LATE)
    eventually(lambda: len(restartable.said("function served")) == 2, "the late one known")
    broker.rabbitmq.start()
    broker.connect()
    broker.consumed("late")
    broker.publish("a")
    broker.publish_raw({**headers_of("b"), "type": LATE}, b"{}", "application/json")
    restartable.done("a", "b")


# -- what goes back -------------------------------------------------------------------------------------------------


def test_replies_go_back_to_the_broker_one_or_many(connected):
    replies = connected.broker.listen(REPLY)
    connected.gateway.behave = replying
    connected.broker.publish("a", "b", "c")
    process = connected.start()
    assert {"a-reply", "b-reply", "c-reply"} == {each.headers["id"] for each in connected.broker.take(replies, 3)}
    connected.done("a", "b", "c")
    connected.broker.nothing_left(process)


# -- small parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (None, []),
        ({}, []),
        ({"topic": "cron-function", "schedule": "@every 10s"}, []),
        ({"topic": "payments"}, []),
        ({"topic": "homework.arch.pay.sale,homework.arch.pay.refund"}, []),
        ({"topic": "homework.arch.pay.sale"}, [Subscriber("f", "homework.arch.pay.sale", "http://g/function/f")]),
        ({"topic": "dead-letters"}, [Subscriber("f", "dead-letters", "http://g/function/f")]),
        (
            {"topic": "cron-function", "events": "a=homework.arch.a.b  broken c=elsewhere d=dead-letters"},
            [
                Subscriber("a", "homework.arch.a.b", "http://g/function/f/function/a"),
                Subscriber("d", "dead-letters", "http://g/function/f/function/d"),
            ],
        ),
    ],
)
def test_annotations_say_who_takes_which_events(notes, expected):
    assert expected == [*subscribers(Deployment(name="f", annotations=notes), "http://g")]


def test_without_a_gateway_it_does_not_start():
    ended = run("triggers.connector", AMQP_URL="amqp://x")
    assert 1 == ended.returncode
    (line,) = ended.stderr.splitlines()
    assert "cannot start: CONNECTOR_GATEWAY_URL is not set: address of OpenFaaS' gateway" == line
