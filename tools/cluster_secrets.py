"""Make an installation's secrets in a Kubernetes namespace, from within a pod: `python -m tools.cluster_secrets`.

What the installation keeps to itself (keys, passwords) is in one Secret, `food-install`, which jobs mount as their
SECRETS_DIR. From it come the Secrets that stack.yml names, each with one key of its own name. What is there is kept;
so this is safe to run again, and by two at once. Its service account may get, create and update Secrets.
"""

import base64
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import urllib3
from pydantic import Field

from functions.shared.settings import Settings
from tools.install import deployment, install
from triggers.command import settings_for

INSTALLATION = "food-install"
LABELS = {"app.kubernetes.io/part-of": "food"}
# How often another run may be first with the same Secret before something else must be wrong.
TRIES = 5


class ClusterSettings(Settings):
    """What the job reads from its environment."""

    database_address: str = Field(
        pattern=r"^[^/@]+/[^/]+$", description="where the functions reach the database: HOST:PORT/NAME"
    )
    amqp_secret: str | None = Field(
        default=None, description="RabbitMQ's own Secret (<cluster>-default-user), to make amqp-url from"
    )
    kubernetes_url: str = Field(
        default="https://kubernetes.default.svc", pattern=r"^https?://", description="address of the API server"
    )
    service_account: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="folder with token, ca.crt and namespace",
    )


class NotMade(Exception):
    """A Secret could not be made; the text says what the API server answered."""


class Cluster:
    """The Secrets of one namespace."""

    def __init__(self, settings: ClusterSettings):
        account = settings.service_account
        namespace = (account / "namespace").read_text().strip()
        self._base = f"{settings.kubernetes_url.rstrip('/')}/api/v1/namespaces/{namespace}/secrets"
        token = (account / "token").read_text().strip()
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        encrypted = {"ca_certs": str(account / "ca.crt")} if settings.kubernetes_url.startswith("https") else {}
        self._pool = urllib3.PoolManager(timeout=10, retries=urllib3.Retry(3, backoff_factor=0.2), **encrypted)

    def find(self, name: str) -> dict[str, Any] | None:
        """The Secret of that name as the API server has it, or None."""
        status, found = self._call("GET", f"/{name}")
        if status not in (200, 404):
            self._refuse("get", name, found)
        return found if status == 200 else None

    def create(self, name: str, values: dict[str, str]) -> bool:
        """Make a Secret; False if there is one of that name."""
        return self._written("create", name, self._call("POST", "", _secret(name, values)))

    def replace(self, name: str, values: dict[str, str], version: str) -> bool:
        """Write a Secret anew; False if it is no longer that version."""
        return self._written("update", name, self._call("PUT", f"/{name}", _secret(name, values, version)))

    def _written(self, verb: str, name: str, answer: tuple[int, Any]) -> bool:
        status, reason = answer
        if status not in (200, 201, 409):
            self._refuse(verb, name, reason)
        return status != 409

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        try:
            answer = self._pool.request(method, self._base + path, json=body, headers=self._headers)
            return answer.status, json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError) as problem:
            raise NotMade(f"expected the Kubernetes API at {self._base}, found {problem}") from None

    def _refuse(self, verb: str, name: str, reason: dict[str, Any]) -> None:
        raise NotMade(f"{verb} secret {name}: {reason.get('message') or reason}; is the service account allowed to?")


def _secret(name: str, values: dict[str, str], version: str | None = None) -> dict[str, Any]:
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
    metadata = {"name": name, "labels": LABELS} | ({"resourceVersion": version} if version else {})
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return kind | {"metadata": metadata, "data": data}


def values_of(secret: dict[str, Any]) -> dict[str, str]:
    """What a Secret holds, decoded."""
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def make_secrets(cluster: Cluster, settings: ClusterSettings) -> list[str]:
    """Make what is missing, and give a line for each Secret. Raises NotMade."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        lines = [f"{INSTALLATION}: {_keep_installation(cluster, directory)}"]
        wanted = deployment(directory, settings.database_address)
    lines += [f"{name}: {_keep(cluster, name, value)}" for name, value in wanted.items()]
    return lines + ([_keep_amqp(cluster, settings.amqp_secret)] if settings.amqp_secret else [])


def _keep_installation(cluster: Cluster, directory: Path) -> str:
    """Fill `directory` with the installation that counts: the one that the cluster has kept."""
    for _ in range(TRIES):
        found = cluster.find(INSTALLATION)
        _fill(directory, values_of(found) if found else {})
        made = install(directory)
        if not made:
            return "kept"
        if _store(cluster, directory, found):
            return f"made {', '.join(made)}"
    raise NotMade(f"{INSTALLATION}: changed by others {TRIES} times in a row")


def _fill(directory: Path, values: dict[str, str]) -> None:
    for name, value in values.items():
        (directory / name).write_text(value)


def _store(cluster: Cluster, directory: Path, found: dict[str, Any] | None) -> bool:
    values = {path.name: path.read_text() for path in directory.iterdir()}
    if found is None:
        return cluster.create(INSTALLATION, values)
    return cluster.replace(INSTALLATION, values, found["metadata"]["resourceVersion"])


def _keep(cluster: Cluster, name: str, value: str) -> str:
    if cluster.create(name, {name: value}):
        return "made"
    found = cluster.find(name)
    same = found is not None and values_of(found).get(name) == value
    return "kept" if same else "kept, though it holds something else: delete it to have it made anew"


def _keep_amqp(cluster: Cluster, source: str) -> str:
    found = cluster.find(source)
    if found is None:
        raise NotMade(f"secret {source} is not there (yet): RabbitMQ's operator makes it; run this again")
    return f"amqp-url: {_keep(cluster, 'amqp-url', values_of(found)['connection_string'])}"


def main() -> None:
    """The job: ends with one line when it could not do all, so that it is run again."""
    settings = settings_for(ClusterSettings, __doc__)
    try:
        print("\n".join(make_secrets(Cluster(settings), settings)))
    except OSError as problem:
        sys.exit(f"{problem.filename}: expected a file of the service account, got: {problem.strerror}")
    except NotMade as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
