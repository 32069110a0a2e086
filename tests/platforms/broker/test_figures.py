"""Figures for people to compare: nothing is asserted about time."""

import pytest

from tests.platforms.broker.figures import Figures, measured
from tests.stories.conftest import Stage

PAIRS = [("theirs", "theirs"), ("theirs", "ours"), ("ours", "ours")]


@pytest.mark.parametrize(("ingress", "dispatcher"), PAIRS)
def test_orders_are_measured_on(stage: Stage, figures: list[Figures], ingress: str, dispatcher: str):
    figures.append(measured(stage.system, ingress, dispatcher))
