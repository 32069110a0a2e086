"""The overlays as kustomize builds them, for what is computed from them: sizes, connections, and tests.

Only what our kustomizations use: resources, components, and patches by file (merged) or by operations (`replace`,
`add`) on what a target names. A test holds it against kustomize itself.
"""

import copy
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from triggers.stack import ROOT

OVERLAYS = ROOT / "k8s" / "overlays"
Document = dict[str, Any]
# Kubernetes' own kinds merge these lists by their names; of other kinds a list is replaced.
OWN_KINDS = ("apps/v1", "batch/v1", "v1")


def names() -> list[str]:
    """Every overlay."""
    return sorted(path.name for path in OVERLAYS.iterdir())


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _built(folder: Path) -> tuple[Document, ...]:
    return tuple(_with(folder, []))


def built(overlay: str) -> tuple[Document, ...]:
    """The documents of an overlay, in the order in which they are written; to be read and not changed."""
    return _built(OVERLAYS / overlay)


def documents(overlay: str) -> list[Document]:
    """The same, for whoever changes them."""
    return copy.deepcopy(list(built(overlay)))


def with_component(overlay: str, name: str) -> list[Document]:
    """An overlay with one more component of k8s/."""
    return _with((OVERLAYS.parent / name).resolve(), documents(overlay))


def _with(folder: Path, found: list[Document]) -> list[Document]:
    """What is there, with what a kustomization adds and changes."""
    listing = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    for name in listing.get("resources", ()):
        path = (folder / name).resolve()
        found = found + (_with(path, []) if path.is_dir() else _read(path.read_text("utf-8")))
    for name in listing.get("components", ()):
        found = _with((folder / name).resolve(), found)
    for patch in listing.get("patches", ()):
        text = patch.get("patch") or (folder / patch["path"]).read_text("utf-8")
        found = _patched(found, patch.get("target"), _read(text))
    return found


def _read(text: str) -> list[Document]:
    read = [each for each in yaml.load_all(text, LOADER) if each]
    return read[0] if read and isinstance(read[0], list) else read


def _patched(found: list[Document], target: Document | None, changes: list[Document]) -> list[Document]:
    if target is None:
        return [_merged_with(document, changes) for document in found]
    return [_operated(document, changes) if _is_meant(document, target) else document for document in found]


def _merged_with(document: Document, changes: Iterable[Document]) -> Document:
    for change in changes:
        if _identity(change) == _identity(document):
            document = _merged(document, change, document["apiVersion"] in OWN_KINDS)
    return document


def _identity(document: Document) -> tuple[str, str, str]:
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def _merged(old: Any, new: Any, by_name: bool) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        both = {**old, **{key: _merged(old.get(key), value, by_name) for key, value in new.items()}}
        return {key: value for key, value in both.items() if value is not None}
    named = by_name and isinstance(old, list) and all(isinstance(each, dict) and "name" in each for each in old)
    if not (named and isinstance(new, list)):
        return new
    known = {each["name"]: each for each in old}
    changed = [_merged(known.pop(each["name"], None), each, by_name) for each in new]
    return changed + list(known.values())


def _is_meant(document: Document, target: Document) -> bool:
    group = document["apiVersion"].rpartition("/")[0]
    labels = document["metadata"].get("labels", {})
    wanted = dict(each.split("=") for each in target.get("labelSelector", "").split(",") if each)
    return (
        target.get("group", group) == group
        and target.get("kind", document["kind"]) == document["kind"]
        and target.get("name", document["metadata"]["name"]) == document["metadata"]["name"]
        and wanted.items() <= labels.items()
    )


def _operated(document: Document, operations: Iterable[Document]) -> Document:
    made = copy.deepcopy(document)
    for each in operations:
        *way, last = (step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:])
        at: Any = made
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at[step]
        if isinstance(at, list):
            at.append(each["value"]) if last == "-" else at.__setitem__(int(last), each["value"])
        else:
            at[last] = each["value"]
    return made


def containers(document: Document) -> Iterator[Document]:
    """The containers of whatever makes pods by a template."""
    yield from document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
