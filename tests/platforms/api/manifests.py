"""The project's manifests as the tests apply them, and as they are never committed: with a mistake."""

import copy
import subprocess
from collections.abc import Iterator
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from tests.platforms import programs
from tools.local.environment import ROOT

KUSTOMIZATION = "kustomization.yaml"
# Maps whose keys are the author's own words: no server can know that one is mistyped.
FREE = {
    "annotations",
    "attributes",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "parameters",
    "params",
    "requests",
    "stringData",
}


def overlays() -> list[Path]:
    """What can be applied."""
    return sorted(path for path in (ROOT / "k8s" / "overlays").iterdir())


@cache
def build(folder: Path) -> str:
    """The documents of a kustomization, as kubectl makes them."""
    command = [programs.find("kubectl"), "kustomize", folder]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def documents(folder: Path) -> list[dict]:
    return list(yaml.safe_load_all(build(folder)))


def by_kind() -> dict[str, dict]:
    """One document of each kind that is used, the longest of them: it shows the most fields."""
    found: dict[str, dict] = {}
    for document in (each for folder in overlays() for each in documents(folder)):
        name = f"{document['kind']}.{document['apiVersion']}"
        found[name] = max(found.get(name, {}), document, key=lambda each: len(str(each)))
    return found


def of_kind(kind: str) -> dict:
    """The document that stands for a kind of Knative's or of its broker's."""
    return next(each for name, each in by_kind().items() if name.startswith(f"{kind}.") and "knative.dev" in name)


def elsewhere(document: dict, name: str) -> dict:
    """A copy that meets nothing that is applied: another name, and a namespace that is always there."""
    metadata = document["metadata"] | {"name": name}
    if "namespace" in metadata:
        metadata["namespace"] = "default"
    return copy.deepcopy(document) | {"metadata": metadata}


def changed(document: dict, path: tuple, value: Any) -> dict:
    """A copy with another value at one place."""
    made = copy.deepcopy(document)
    reduce(getitem, path[:-1], made)[path[-1]] = value
    return made


def fields(document: dict) -> list[tuple]:
    """The path of every field that the document uses and whose name is the schema's; of several alike the first."""
    paths = {tuple(key for key in path if isinstance(key, str)): path for path in reversed(list(_below(document)))}
    # Without the first three kubectl does not know where to send the document.
    return [path for name, path in paths.items() if name not in (("apiVersion",), ("kind",), ("metadata",))]


def _below(part: Any, path: tuple = ()) -> Iterator[tuple]:
    inner = enumerate(part) if isinstance(part, list) else part.items() if isinstance(part, dict) else ()
    for key, each in inner:
        if {".", "/"} & set(str(key)):
            continue  # the key of a label, in a selector that has no other words
        yield (*path, key)
        if key not in FREE:
            yield from _below(each, (*path, key))


def mistyped(document: dict, path: tuple) -> dict:
    """A copy with one letter too many in the name of this field."""
    made = copy.deepcopy(document)
    holder = reduce(getitem, path[:-1], made)
    holder[f"{path[-1]}x"] = holder.pop(path[-1])
    return made


def written(path: tuple) -> str:
    """The path as the API server writes it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
