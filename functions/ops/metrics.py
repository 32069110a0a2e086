"""The number of dead letters that wait for a person, as Prometheus metrics."""

from functions.shared.database import Database
from functions.shared.rest import Response, rest
from functions.shared.telemetry.metrics import TEXT, Found, text_of

# Replayed ones stay in the table; the index holds the others alone.
WAITING = "SELECT function, count(*) AS waiting FROM dead_letters WHERE replayed_at IS NULL GROUP BY function"

OLDEST = """
    SELECT coalesce(extract(epoch FROM now() - min(first_at)), 0) AS age FROM dead_letters WHERE replayed_at IS NULL
"""


@rest("GET", "/internal/metrics", caller="internal")
def metrics(db: Database) -> Response[bytes]:
    """One snapshot, in Prometheus' text format.

    The functions are those that have a trigger, so they are few.
    """
    db.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    waiting = {(row.function,): row.waiting for row in db.rows(WAITING)}
    return Response(
        text_of(
            Found("dead_letters_waiting", "Dead letters that nobody has replayed", sum(waiting.values())),
            Found("dead_letters_waiting_of_function", "The same, by who failed", waiting, ("function",)),
            Found("dead_letters_oldest_age_seconds", "Age of the oldest of them", float(db.row(OLDEST).age)),
        ),
        headers={"Content-Type": TEXT},
    )
