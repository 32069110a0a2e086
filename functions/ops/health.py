"""The health of the whole: the database answers, and the broker takes events."""

from typing import Any

from functions.shared import database
from functions.shared.connections import Connections, NoAnswer
from functions.shared.request import Request
from functions.shared.rest import Response, rest
from functions.shared.settings import BrokerSettings, DatabaseSettings, read, require

require(DatabaseSettings, BrokerSettings)

_connections = Connections(connect_seconds=2, read_seconds=2)

# What the original's framework answers with; monitors look at it.
ACTUATOR = "application/vnd.spring-boot.actuator.v3+json"


@rest("GET", "/health", "/health/readiness", caller="public", media_type=ACTUATOR)
def health(request: Request) -> Response[dict[str, Any]]:
    """200 and UP, or 503 and DOWN; `/health/readiness` says which part is down."""
    working = {"database": _database(), "broker": _broker()}
    components = {name: {"status": "UP" if works else "DOWN"} for name, works in working.items()}
    up = all(working.values())
    detailed = request.path.endswith("/readiness")
    more = {"components": components} if detailed else {"groups": ["liveness", "readiness"]}
    return Response({"status": "UP" if up else "DOWN", **more}, 200 if up else 503)


def _database() -> bool:
    try:
        with database.transaction() as db:
            return bool(db.row("SELECT 1 AS one"))
    except (database.Unavailable, database.Conflict):
        return False


def _broker() -> bool:
    # Knative's ingress knows no /health and answers 404 or 405: below 500 somebody is there who takes events.
    try:
        address = read(BrokerSettings).broker_url.rstrip("/") + "/health"
        return _connections.request("GET", address).status < 500
    except NoAnswer:
        return False
