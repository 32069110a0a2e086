"""The two health paths that OpenFaaS asks for and the one that Prometheus asks for, answered by every function."""

from functions.shared import database, later
from functions.shared.answers import Answer, json_answer
from functions.shared.telemetry import metrics


def answer(path: str, needs_database: bool = True) -> Answer | None:
    """Answer a probe: `/_/health` is 200 while the process serves, `/_/ready` when all is loaded that work
    needs, and needs the database.

    `/_/metrics` has the metrics of the whole process, whichever of its functions is asked.
    """
    if path.endswith("/_/health"):
        return json_answer({"status": "UP"})
    if path.endswith("/_/ready"):
        later.finish()
        return _ready() if needs_database else json_answer({"status": "UP"})
    # Exactly: a public path with placeholders may end alike, and metrics are not for everybody.
    if path == metrics.PATH:
        return metrics.answer()
    return None


def _ready() -> Answer:
    try:
        with database.autocommit() as db:
            db.row("SELECT 1 AS one")
        return json_answer({"status": "UP"})
    except (database.Unavailable, database.Conflict) as problem:
        return json_answer({"status": "DOWN", "error": str(problem)}, 503)
