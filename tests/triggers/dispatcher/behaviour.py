"""What the functions of the tests answer, and what is waited for."""

import json
import threading
from collections.abc import Callable

from tests.broker import Broker
from tests.fakes import BATCH, Call, Reply, nothing
from tests.system import eventually

REPLY_TYPE = "homework.arch.test.reply"


class Gate:
    """Behaviour that holds every call up until it is opened."""

    def __init__(self, then: Callable[[Call], Reply] = nothing):
        self._open, self._then = threading.Event(), then
        self.open = self._open.set

    def __call__(self, call: Call) -> Reply:
        self._open.wait(30)
        return self._then(call)


def refusing(*bad: str, status: int = 500, headers: dict[str, str] | None = None) -> Callable[[Call], Reply]:
    """Behaviour that fails whatever has one of these events in it."""
    return lambda call: (status, headers or {}, b"cannot") if {*bad} & {*call.ids} else nothing(call)


def reply_to(call: Call) -> Reply:
    """Each event is answered with one that follows it."""
    events = [
        {"specversion": "1.0", "id": f"{id}-reply", "source": "/one", "type": REPLY_TYPE, "data": {"amount": 1}}
        for id in call.ids
    ]
    if call.is_batch:
        return 200, {"Content-Type": BATCH}, json.dumps(events).encode()
    headers = {f"ce-{name}": value for name, value in events[0].items() if name != "data"}
    return 200, {**headers, "Content-Type": "application/json"}, b'{"amount":39.00}'


def hold_up(broker: Broker, *ids: str, then: Callable[[Call], Reply] = nothing, **more: str) -> Gate:
    """One call in flight, and these events with the dispatcher behind it."""
    gate = broker.one.behave = Gate(then)
    broker.publish("first")
    broker.one.wait_for(1)
    broker.publish(*ids, **more)
    eventually(lambda: broker.waiting(broker.queue("one")) == 0, "the events with the dispatcher")
    return gate


def done(broker: Broker, *ids: str) -> None:
    eventually(lambda: all("done" in broker.outcomes(id) for id in ids), f"{ids} done")
