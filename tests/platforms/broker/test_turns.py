"""Our ingress and dispatcher and theirs take turns on the same queues while forty orders are on their way."""

from typing import NamedTuple

import pytest

from tests.stories.conftest import Stage
from tests.stories.test_crashes import flushed, forty_orders_end_once


class Turn(NamedTuple):
    """Whose ingress and whose dispatcher are at work."""

    ingress: str
    dispatcher: str


TURNS = {
    "our dispatcher takes over from theirs": (Turn("theirs", "theirs"), Turn("theirs", "ours")),
    "theirs take over from our dispatcher": (Turn("theirs", "ours"), Turn("theirs", "theirs")),
    "our ingress takes over from theirs": (Turn("theirs", "theirs"), Turn("ours", "theirs")),
    "theirs take over from both of ours": (Turn("ours", "ours"), Turn("theirs", "theirs")),
}


@pytest.mark.parametrize(("before", "after"), TURNS.values(), ids=TURNS)
def test_every_order_ends_once_although(stage: Stage, before: Turn, after: Turn):
    stage.system.use(*before)
    forty_orders_end_once(stage, lambda on: on.system.use(*after), lambda: flushed(stage))
