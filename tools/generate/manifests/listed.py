"""stack.yml as the manifests need it: each function with its image, secrets, environment, sizes and scale."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from triggers.stack import ROOT, Function, load

VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


class WithoutAnchors(yaml.SafeDumper):
    """Writes out what stack.yml shares by anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        """Always."""
        return True


@dataclass(frozen=True)
class Listed:
    """One function as it is to be deployed."""

    function: Function
    image: str
    secrets: tuple[str, ...]
    environment: dict[str, str]
    requests: dict[str, str]
    limits: dict[str, str]
    scale: dict[str, str]

    @property
    def name(self) -> str:
        """The deployed name."""
        return self.function.name

    @property
    def least(self) -> int:
        """Instances that are always there: none where it may go to sleep."""
        return 0 if self.scale["zero"] == "true" else int(self.scale["min"])

    @property
    def most(self) -> int:
        """Instances at the most."""
        return int(self.scale["max"])


@cache
def listed() -> tuple[Listed, ...]:
    """All functions, in the order of the file, its variables at their defaults."""
    entries = yaml.safe_load(VARIABLE.sub(r"\1", (ROOT / "stack.yml").read_text("utf-8")))["functions"]
    return tuple(_one(function, entries[function.name]) for function in load())


def _one(function: Function, entry: dict[str, Any]) -> Listed:
    return Listed(
        function=function,
        image=entry["image"],
        secrets=tuple(entry.get("secrets", ())),
        environment=entry["environment"],
        requests=entry["requests"],
        limits=entry["limits"],
        scale={name.rpartition(".")[2]: value for name, value in entry["labels"].items()},
    )


def owners() -> list[str]:
    """The owners in the order of the file."""
    return list(dict.fromkeys(one.function.owner for one in listed()))


def of_owner(owner: str) -> list[Listed]:
    """The functions of one owner."""
    return [one for one in listed() if one.function.owner == owner]


def image(name: str) -> str:
    """The image of another deployable (`billing`, `triggers`), from the same registry in the same version."""
    known = listed()[0]
    return known.image.replace(f"/{known.name}:", f"/{name}:")
