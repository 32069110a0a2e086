"""Configuration is a contract: one frozen model per concern, read once; one error names all that is missing."""

import os
import sys
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from functions.shared import later

S = TypeVar("S", bound="Settings")
# Where OpenFaaS mounts secrets, and our manifests for Knative; their modes are the platform's.
MOUNTED = Path("/var/openfaas/secrets")
# Marks a field that may be in a file for everybody.
PUBLIC = {"public": True}


class Settings(BaseModel):
    """Fields are environment variables in lower case; `NAME_FILE` may name a file that holds the value of `NAME`."""

    # Built when it is read: most are there for others to build upon.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    # Modules that work with these settings needs and a start does not: see later.py.
    later: ClassVar[tuple[str, ...]] = ()


class DatabaseSettings(Settings):
    """The owner's own role and nothing more: postgresql://<owner>:<password>@host:port/database.

    While its password is changed there are two of them, by lines: the first that lets in counts.
    """

    later = ("functions.shared.pipeline",)
    database_url: str = Field(pattern=r"^postgres(ql)?://", description="PostgreSQL address of the owner's role")


class CallSettings(Settings):
    """Where other functions answer; `function_urls` (a JSON file of name: URL) goes before the template."""

    function_url: str = Field(
        default="http://{name}", description="address of a function, {name} and {owner} filled in"
    )
    function_urls: Path | None = Field(default=None, description="JSON file of function name: address")


class BrokerSettings(Settings):
    """The broker that takes CloudEvents by HTTP POST."""

    broker_url: str = Field(pattern=r"^https?://", description="address of the broker's ingress")


class InstallationSettings(Settings):
    """The secret that all parts of an installation have in common; two values while it is changed."""

    installation_token: str = Field(
        pattern=r"^(off|[A-Za-z0-9_-]{32,}(\.[A-Za-z0-9_-]{32,})?)$",
        description="secret by which functions and triggers know each other; NEW.OLD while it is changed; or: off",
    )


class TimeZoneSettings(Settings):
    """The time zone of the times in answers."""

    time_zone: str = Field(default="UTC", description="IANA zone of operationTime")


class _Serving:
    """Whether this process serves functions; the framework says so by an application context of its own."""

    def __init__(self) -> None:
        self.here = False

    def __bool__(self) -> bool:
        flask = sys.modules.get("flask")
        return self.here or bool(flask and flask.has_app_context())


serving = _Serving()


class Misconfigured(Exception):
    """The environment does not hold what a settings model asks for; the text lists every gap."""


def _from_environment(name: str, public: bool = False) -> str | None:
    if value := os.environ.get(name):
        return value
    if named := os.environ.get(f"{name}_FILE"):
        try:
            path = _secret(Path(named))
            text = path.read_text("utf-8").strip()
            is_open = not public and _is_open(path.resolve())
        except OSError as problem:
            raise Misconfigured(f"{name}_FILE: expected a readable file, got {named} ({problem.strerror})") from None
        if is_open:
            raise Misconfigured(
                f"{name}_FILE: expected a file that others cannot read, got {named}: chmod o-r {named}"
            )
        return text
    return None


def _is_open(path: Path) -> bool:
    """Whether every user of the machine can read a file; those of a container's own secrets have no other user."""
    if path.is_relative_to(MOUNTED):
        return False
    return bool(path.stat().st_mode & 0o004) and all(one.stat().st_mode & 0o001 for one in path.parents)


def _secret(path: Path) -> Path:
    """The file of a secret: OpenFaaS mounts it as `.../name`, a Knative service as `.../name/name`."""
    return path / path.name if path.is_dir() else path


@cache
def read(model: type[S]) -> S:
    """Read `model` from the environment once; raises Misconfigured with a line for everything that is wrong."""
    return read_again(model)


def read_again(model: type[S]) -> S:
    """The same as it is now: files are read again."""
    fields = model.model_fields.items()
    found = {name: _from_environment(name.upper(), field.json_schema_extra is PUBLIC) for name, field in fields}
    try:
        return model.model_validate({name: value for name, value in found.items() if value is not None})
    except ValidationError as problem:
        raise Misconfigured(_gaps(model, problem)) from None


def _gaps(model: type[Settings], problem: ValidationError) -> str:
    lines = []
    for error in problem.errors(include_url=False):
        field = str(error["loc"][0])
        meaning = model.model_fields[field].description
        what = "is not set" if error["type"] == "missing" else f"is wrong ({error['msg']})"
        lines.append(f"{field.upper()} {what}: {meaning}")
    return "; ".join(lines)


def require(*models: type[Settings]) -> None:
    """Refuse to start, in one line, when a server loads a function whose settings are not there."""
    if serving:
        try:
            for model in models:
                read(model)
                later.load(*model.later)
        except Misconfigured as problem:
            raise SystemExit(f"cannot start: {problem}") from None
