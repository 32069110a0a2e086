"""Fields of a manifest that no kind of it has, found without a server, also where the server lets them pass.

A CRD may list its fields and keep unknown ones all the same: so do those of a Service's template, of a Trigger, of a
Broker's delivery. Mistyped, `annotations` of a template are lost in silence, and a function's scale bounds with them.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parent.parent / "crds"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Real fields of a delivery that the CRDs have forgotten: knative/eventing pkg/apis/duck/v1/delivery_types.go
DELIVERY = {"timeout", "format", "retryAfterMax"}


def unknown_fields(document: dict) -> list[str]:
    """The paths of unknown fields; none where no committed CRD describes the kind."""
    schema = schemas().get((document["apiVersion"], document["kind"]), {})
    # Some CRDs leave the first two to Kubernetes.
    body = {name: part for name, part in document.items() if name not in ("apiVersion", "kind", "metadata")}
    return [path.removeprefix(".") for path in _unknown(body, schema, "")]


@cache
def schemas() -> dict[tuple[str, str], dict]:
    """The schema of every kind in `crds/`, by apiVersion and kind."""
    found = {}
    for path in sorted(CRDS.rglob("*.yaml")):
        spec = yaml.load(path.read_text("utf-8"), LOADER)["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def _unknown(part: Any, schema: dict, path: str) -> Iterator[str]:
    if isinstance(part, list):
        for number, each in enumerate(part):
            yield from _unknown(each, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(part, dict) and (known := schema.get("properties")):
        for name, each in part.items():
            if name in known:
                yield from _unknown(each, known[name], f"{path}.{name}")
            elif not (path.endswith(".delivery") and name in DELIVERY):
                yield f"{path}.{name}"
    elif isinstance(part, dict) and isinstance(inner := schema.get("additionalProperties"), dict):
        for name, each in part.items():
            yield from _unknown(each, inner, f"{path}.{name}")
