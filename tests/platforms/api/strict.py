"""Fields of a manifest that no kind of it has, found without a server, also where the server lets them pass.

A CRD may list its fields and keep unknown ones all the same: so do those of a Service's template, of a Trigger, of a
Broker's delivery. Mistyped, `annotations` of a template are lost in silence, and a function's scale bounds with them.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parent.parent / "crds"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Real fields of a delivery that the CRDs have forgotten: knative/eventing pkg/apis/duck/v1/delivery_types.go
DELIVERY = {"timeout", "format", "retryAfterMax"}
# Labels and annotations that Knative reads. Others of its domains are taken by every server and heeded by nobody.
WORDS = {
    **{
        f"autoscaling.knative.dev/{name}": r"\d+"
        for name in ("min-scale", "max-scale", "initial-scale", "activation-scale", "target")
    },
    "autoscaling.knative.dev/metric": "concurrency|rps",
    "autoscaling.knative.dev/scale-down-delay": r"\d+[smh]",
    "autoscaling.knative.dev/target-utilization-percentage": r"\d+",
    "autoscaling.knative.dev/window": r"\d+[smh]",
    "eventing.knative.dev/broker.class": "RabbitMQBroker",
    "networking.knative.dev/visibility": "cluster-local",
    "rabbitmq.eventing.knative.dev/parallelism": r"[1-9]\d{0,2}|1000",
    **{
        f"rabbitmq.eventing.knative.dev/{name}": r"\d+m?|\d+[MG]i"
        for name in ("cpu-request", "cpu-limit", "memory-request", "memory-limit")
    },
}


def unknown_fields(document: dict) -> list[str]:
    """The paths of unknown fields; none where no committed CRD describes the kind."""
    schema = schemas().get((document["apiVersion"], document["kind"]), {})
    # Some CRDs leave the first two to Kubernetes.
    body = {name: part for name, part in document.items() if name not in ("apiVersion", "kind", "metadata")}
    return [path.removeprefix(".") for path in _unknown(body, schema, "")]


def unheeded_words(document: dict) -> list[str]:
    """Labels and annotations of Knative's domains that it does not know, or with a value that it does not."""
    template = document.get("spec", {}).get("template", {}) if isinstance(document.get("spec"), dict) else {}
    words = [
        word
        for part in (document, template)
        for kind in ("labels", "annotations")
        for word in part.get("metadata", {}).get(kind, {}).items()
    ]
    return [
        f"{name}: {value}"
        for name, value in words
        if "knative.dev/" in name and not re.fullmatch(WORDS.get(name, r"(?!)"), value)
    ]


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
