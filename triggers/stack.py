"""stack.yml, the one list of functions, read for everything that has to know them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from functions.shared.settings import Settings, read_again

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "homework.arch."
DEAD_LETTERS = "dead-letters"
PUBLIC = ("public", "bearer", "admin")


@dataclass(frozen=True)
class Function:
    """One function: where its code is, and what starts it."""

    name: str
    source: str
    target: str
    caller: str
    method: str | None = None
    paths: tuple[str, ...] = ()
    topic: str | None = None
    schedule: str | None = None

    @property
    def owner(self) -> str:
        """The folder, schema and role that the function belongs to."""
        return Path(self.source).parent.name

    @property
    def event_type(self) -> str | None:
        """The type of the events that start it, or None."""
        return self.topic if self.caller == "broker" and self.topic != DEAD_LETTERS else None

    @property
    def is_public(self) -> bool:
        """Reached through the public host."""
        return self.caller in PUBLIC


class StackSettings(Settings):
    """Where the functions are listed."""

    stack_file: Path = Field(default=ROOT / "stack.yml", description="where the functions are listed")


class Unknown(LookupError):
    """No function answers to that name; the text lists what there is."""


@cache
def load(path: str | None = None) -> tuple[Function, ...]:
    """All functions in the order of the file; STACK_FILE names another file than the project's own."""
    file = Path(path or read_again(StackSettings).stack_file)
    listed = yaml.safe_load(file.read_text("utf-8"))["functions"]
    return tuple(_function(name, entry) for name, entry in listed.items())


def _function(name: str, entry: dict) -> Function:
    notes, environment = entry["annotations"], entry["environment"]
    return Function(
        name=name,
        source=environment["FUNCTION_SOURCE"],
        target=environment["FUNCTION_TARGET"],
        caller=notes["caller"],
        method=notes.get("method"),
        paths=tuple(notes.get("path", "").split()),
        topic=notes.get("topic"),
        schedule=notes.get("schedule"),
    )


def by_event(event: str) -> Function:
    """The function of an event type, in full or short (`billing.withdraw`). Raises Unknown."""
    full = event if event.startswith(PREFIX) else PREFIX + event
    types = {function.event_type: function for function in load() if function.event_type}
    if full not in types:
        known = ", ".join(sorted(name.removeprefix(PREFIX) for name in types))
        raise Unknown(f"expected one of the events {known}; got {event}")
    return types[full]
