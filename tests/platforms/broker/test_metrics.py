"""Metrics for people to compare: nothing is asserted about time."""

import pytest

from tests.platforms.broker.metrics import Metrics, measured
from tests.stories.conftest import Stage

PAIRS = [("theirs", "theirs"), ("theirs", "ours"), ("ours", "ours")]


@pytest.mark.parametrize(("ingress", "dispatcher"), PAIRS)
def test_orders_are_measured_on(stage: Stage, metrics: list[Metrics], ingress: str, dispatcher: str):
    metrics.append(measured(stage.system, ingress, dispatcher))
