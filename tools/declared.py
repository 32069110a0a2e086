"""What the functions themselves declare: routes, contracts and texts, beside their entries in stack.yml.

The documents and the README are written from here, so that they cannot say anything else than the code does.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from functions.shared.rest import Route
from functions.shared.step import Contract
from schemas.events import ALL
from triggers.stack import ROOT, Function, load

# The two events that are no reply: they leave through the outbox, once more when the re-drive asks for it.
BY_OUTBOX = {
    "order.newOrder": ("order-submit", "order-redrive"),
    "notification.email": ("order-result", "order-redrive"),
}

WRITES = re.compile(r"\b(?:INSERT INTO|DELETE FROM|(?<!FOR )(?<!DO )UPDATE)\s+([a-z_]+)")
READS = re.compile(r"\b(?:FROM|JOIN)\s+([a-z_]+)\b(?!\s*\()")
OF_FILE = re.compile(r"\b(Undone by|Undoes) (\w+)\.py")


@dataclass(frozen=True)
class Declared:
    """One function of stack.yml with its code."""

    function: Function
    module: ModuleType
    handle: Callable[..., Any]

    @property
    def route(self) -> Route | None:
        """How it is reached, if it is a REST method."""
        return getattr(self.handle, "route", None)

    @property
    def contract(self) -> Contract | None:
        """What it takes and gives, if it is a step of the saga."""
        return getattr(self.handle, "contract", None)

    @property
    def summary(self) -> str:
        """The first sentence that it says about itself."""
        return (inspect.getdoc(self.handle) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        """What its file says."""
        return inspect.getdoc(self.module) or ""

    @property
    def opposite(self) -> tuple[str, str] | None:
        """What undoes it, or what it undoes: (`Undone by`, `functions/billing/refund.py`)."""
        found = OF_FILE.search(self.description)
        return (found[1], f"functions/{self.function.owner}/{found[2]}.py") if found else None

    @property
    def tables(self) -> tuple[set[str], set[str]]:
        """The tables that its SQL writes, and those that it only reads."""
        sql = [text for module in (self.module, *_siblings(self.module)) for text in statements(module)]
        known = tables_of(self.function.owner)
        written = {name for text in sql for name in WRITES.findall(text)} & known
        read = {name for text in sql for name in READS.findall(text)} & known
        return written, read - written


@cache
def declared() -> tuple[Declared, ...]:
    """Every function of stack.yml, imported."""
    return tuple(_imported(function) for function in load())


def _imported(function: Function) -> Declared:
    module = importlib.import_module(function.source.removesuffix(".py").replace("/", "."))
    return Declared(function, module, getattr(module, function.target))


def by_name(name: str) -> Declared:
    """The function that is deployed under that name."""
    return next(entry for entry in declared() if entry.function.name == name)


def steps() -> list[Declared]:
    """The steps of the saga, in the order in which orders meet them."""
    by_type = {entry.contract.takes.short_type: entry for entry in declared() if entry.contract}
    return [by_type[short] for short in ALL if short in by_type]


def senders(short_type: str) -> list[str]:
    """The functions that send an event, by their deployed names."""
    repliers = [
        entry.function.name for entry in steps() if short_type in (model.short_type for model in entry.contract.gives)
    ]
    return repliers + list(BY_OUTBOX.get(short_type, ()))


def statements(module: ModuleType) -> list[str]:
    """The SQL of a module: its constants in capitals."""
    return [text for name, text in vars(module).items() if name.isupper() and isinstance(text, str)]


@cache
def tables_of(owner: str) -> frozenset[str]:
    """The tables and views that an owner's numbered SQL files make."""
    files = (ROOT / "functions" / owner / "tables").glob("*.sql")
    made = (re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", path.read_text("utf-8")) for path in files)
    return frozenset(name for names in made for name in names)


def _siblings(module: ModuleType) -> Iterator[ModuleType]:
    """The modules of the same owner that a module takes something from."""
    package = module.__name__.rpartition(".")[0] + "."
    names = {
        value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None) or ""
        for value in vars(module).values()
    }
    for name in sorted(names - {module.__name__}):
        if name.startswith(package):
            yield importlib.import_module(name)
