"""Information about the system: empty, as the original answered."""

from typing import Any

from functions.shared.rest import rest

# What the original's framework answers with; monitors look at it.
ACTUATOR = "application/vnd.spring-boot.actuator.v3+json"


@rest("GET", "/info", caller="public", media_type=ACTUATOR)
def info() -> dict[str, Any]:
    """An empty object, as clients and monitors of the original know it."""
    return {}
