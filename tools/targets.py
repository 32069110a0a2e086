"""Where the commands find the database and the broker: in the environment, or in the running system's run.json."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pg8000.native import Connection
from pydantic import Field

from functions.shared import installation
from functions.shared.settings import InstallationSettings, Misconfigured, read, read_again
from tools.install import TOKEN
from tools.local.installation import Installation
from tools.local.processes import StartFailed
from tools.migrate import DatabaseOfAll, MigrationFailed, connected


class TargetSettings(DatabaseOfAll):
    """What the commands work on, where it is not the running system."""

    broker_url: str | None = Field(default=None, pattern=r"^https?://", description="address of the broker's ingress")
    installation_token: str | None = Field(
        default=None, description="secret of the installation that is worked on, if it is not the one here"
    )

    @classmethod
    def now(cls) -> "TargetSettings":
        """As the environment is now. Raises NotFound with one line that has all that is wrong."""
        try:
            return read_again(cls)
        except Misconfigured as problem:
            raise NotFound(str(problem)) from None


class NotFound(Exception):
    """There is nothing to work on; the text says what to do."""


def installation_headers() -> dict[str, str]:
    """What a call to a function or to the broker carries: the token of INSTALLATION_TOKEN or of the system here.

    Without either nothing is sent, and whoever wants a token says so. Raises NotFound for one that cannot be it.
    """
    if not TargetSettings.now().installation_token:
        kept = Installation.from_environment().secrets / TOKEN
        if not kept.exists():
            return {}
        os.environ["INSTALLATION_TOKEN_FILE"] = str(kept)
    try:
        read(InstallationSettings)
    except Misconfigured as problem:
        raise NotFound(str(problem)) from None
    return installation.headers()


def _found(named: str | None, key: str, variables: str) -> str:
    """What the environment names, or what run.json says under `key`. Raises NotFound."""
    try:
        found = named or (Installation.from_environment().status() or {}).get(key)
    except StartFailed as problem:
        raise NotFound(str(problem)) from None
    if not found:
        raise NotFound(f"expected {variables}, or a running system (make run); found neither")
    return found


@contextmanager
def admin_database() -> Iterator[Connection]:
    """A connection to every owner's tables: ADMIN_DATABASE_URL, DATABASE_URL or run.json. Raises NotFound."""
    try:
        found = _found(TargetSettings.now().url, "database", "ADMIN_DATABASE_URL or DATABASE_URL")
        with connected(found) as connection:
            yield connection
    except MigrationFailed as problem:
        raise NotFound(str(problem)) from None


def broker() -> str:
    """The address of the broker's ingress: BROKER_URL or run.json. Raises NotFound."""
    return _found(TargetSettings.now().broker_url, "broker", "BROKER_URL")
