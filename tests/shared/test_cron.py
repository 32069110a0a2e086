"""The scheduled function."""

import pytest

from functions.shared import database
from functions.shared.cron import scheduled
from tests.kit import ask


@pytest.mark.parametrize(
    ("problem", "status"),
    [(None, 200), (database.Unavailable("away"), 503), (database.Conflict("busy"), 503), (KeyError("bug"), 500)],
)
@pytest.mark.usefixtures("billing")
def test_a_scheduled_function_reports_how_it_went(problem, status):
    @scheduled()
    def tick() -> dict[str, int]:
        if problem:
            raise problem
        return {"sent": 1}

    reply = ask(tick)
    assert status == reply.status
    assert [405, 200] == [ask(tick, method="GET", path=path).status for path in ("/", "/_/health")]
