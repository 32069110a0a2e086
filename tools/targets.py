"""Where the commands find the database and the broker: in the environment, or in the running system's run.json."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pg8000.native import Connection

from functions.shared import installation
from functions.shared.settings import InstallationSettings, Misconfigured, read
from tools.install import TOKEN
from tools.local.installation import Installation
from tools.local.processes import StartFailed
from tools.migrate import MigrationFailed, connected

VARIABLES = ("INSTALLATION_TOKEN", "INSTALLATION_TOKEN_FILE")


class NotFound(Exception):
    """There is nothing to work on; the text says what to do."""


def installation_headers() -> dict[str, str]:
    """What a call to a function or to the broker carries: the token of INSTALLATION_TOKEN or of the system here.

    Without either nothing is sent, and whoever wants a token says so. Raises NotFound for one that cannot be it.
    """
    kept = Installation.from_environment().secrets / TOKEN
    if not any(os.environ.get(name) for name in VARIABLES):
        if not kept.exists():
            return {}
        os.environ[VARIABLES[1]] = str(kept)
    try:
        read(InstallationSettings)
    except Misconfigured as problem:
        raise NotFound(str(problem)) from None
    return installation.headers()


def _found(key: str, *variables: str) -> str:
    """The first variable that is set, or what run.json says under `key`. Raises NotFound."""
    named = next(filter(None, map(os.environ.get, variables)), None)
    try:
        found = named or (Installation.from_environment().status() or {}).get(key)
    except StartFailed as problem:
        raise NotFound(str(problem)) from None
    if not found:
        raise NotFound(f"expected {' or '.join(variables)}, or a running system (make run); found neither")
    return found


@contextmanager
def admin_database() -> Iterator[Connection]:
    """A connection to every owner's tables: ADMIN_DATABASE_URL, DATABASE_URL or run.json. Raises NotFound."""
    try:
        with connected(_found("database", "ADMIN_DATABASE_URL", "DATABASE_URL")) as connection:
            yield connection
    except MigrationFailed as problem:
        raise NotFound(str(problem)) from None


def broker() -> str:
    """The address of the broker's ingress: BROKER_URL or run.json. Raises NotFound."""
    return _found("broker", "BROKER_URL")
