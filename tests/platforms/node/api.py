"""The API server over HTTPS, for those who ask it too often for a kubectl each time."""

import json
from typing import Any

import urllib3

from tests.platforms.api.cluster import TOKEN, Cluster

STRATEGIC = "application/strategic-merge-patch+json"


class Unanswered(Exception):
    """The API server refused, or was not there; the text says what was asked and what came."""


class Api:
    """Talks as the administrator; it may be used from several threads."""

    def __init__(self, cluster: Cluster):
        self.address = cluster.url
        self._pool = urllib3.PoolManager(
            ca_certs=str(cluster.certificate), assert_hostname=False, maxsize=128, retries=False, timeout=30
        )
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The answer's JSON. Raises Unanswered, and NotFound where it is not there."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | {"Content-Type": content_type}
        try:
            answer = self._pool.request(method, self.address + path, body=data, headers=headers)
        except (OSError, urllib3.exceptions.HTTPError) as problem:
            raise Unanswered(f"{method} {path}: {problem}") from None
        if answer.status == 404:
            raise NotFound(f"{method} {path}: there is none")
        if answer.status >= 300:
            raise Unanswered(f"{method} {path}: {answer.status} {answer.data.decode()}")
        return json.loads(answer.data)

    def list(self, path: str) -> list[dict[str, Any]]:
        """All that there are, from the API server's cache."""
        return self.ask("GET", f"{path}{'&' if '?' in path else '?'}resourceVersion=0")["items"]


class NotFound(Unanswered):
    """There is no such object."""
