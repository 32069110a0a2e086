"""The loop that is measured as the floor sends what our functions and triggers send."""

import json

import pytest

from functions.shared import events
from schemas.events import ALL
from tools.bench_floor import PREFIX, STEPS, _headers
from triggers.wire import from_object, to_amqp_headers


@pytest.mark.parametrize("name", STEPS)
def test_its_messages_carry_the_same_attributes(name: str):
    model = ALL[name].model_validate(ALL[name].example)
    data = model.model_dump(by_alias=True)
    event = events.make(type=PREFIX + name, source="/a/b", id="1", subject=model.subject, causation="0", data=data)
    sent = to_amqp_headers(from_object(json.loads(events.to_text(event))))
    assert sent.keys() == _headers(name, "1", model.subject, "0").keys()


def test_its_chain_is_that_of_a_completed_order():
    name, way = "order.newOrder", []
    while name:
        way.append(name)
        name = STEPS[name].follows
    assert way == [*STEPS]
    assert set(way) == {name for name in ALL if "efund" not in name and "cancel" not in name}
