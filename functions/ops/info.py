"""Information about the system: empty, as the original answered."""

from typing import Any

from functions.shared.rest import Response, rest

# What the original's framework answers with; monitors look at it.
CONTENT_TYPE = {"Content-Type": "application/vnd.spring-boot.actuator.v3+json"}


@rest("GET", "/info", caller="public")
def info() -> Response[dict[str, Any]]:
    """An empty object, as clients and monitors of the original know it."""
    return Response({}, headers=CONTENT_TYPE)
