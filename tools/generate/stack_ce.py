"""Write stack-ce.yml: the functions of stack.yml in at most fifteen deployments, OpenFaaS Community Edition's limit.

An owner's functions share one deployment, served by triggers/serve_owner.py. Scheduled functions have one each,
because the cron connector knows one schedule a deployment. `--check` only says whether the file is stale.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tools.generate.manifests.listed import WithoutAnchors
from triggers.stack import DEAD_LETTERS, PREFIX, ROOT

FILE = ROOT / "stack-ce.yml"
MOST = 15
HEAD = """\
# Written by `make generate` from stack.yml, and not by hand: a test fails when the two differ.
#
# OpenFaaS Community Edition runs fifteen functions at the most, with one topic or one schedule each. So an owner's
# functions are one deployment here, each of them at /function/OWNER/function/NAME, and scheduled functions have one
# each. The annotation `events` says which function inside takes which type of event. The public host
# finds them with FUNCTION_URL={url},
# which the overlay openfaas-ce has. The Community Edition takes images from public registries only.
"""
INSIDE = "${OPENFAAS_INSIDE:-http://gateway.openfaas:8080}/function/{owner}/function/{name}"
# What one function is for itself, and several together are not.
OF_ONE = ("FUNCTION_SOURCE", "FUNCTION_TARGET", "FUNCTION_URL")
# Eight functions wait for the database more than they work; each thread may keep a connection to it.
SHARED = {"THREADS": "16"}
RESOURCES = {"requests": {"cpu": "50m", "memory": "160Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
LABELS = {"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "5", "com.openfaas.scale.zero": "false"}

Entry = dict[str, Any]


def profile() -> str:
    """The text of stack-ce.yml."""
    stack = yaml.safe_load((ROOT / "stack.yml").read_text("utf-8"))
    functions = deployments(stack["functions"])
    if len(functions) > MOST:
        raise SystemExit(f"expected at most {MOST} deployments, got {len(functions)}: give owners fewer schedules")
    document = {key: stack[key] for key in ("version", "provider", "configuration")} | {"functions": functions}
    return HEAD.format(url=INSIDE) + yaml.dump(document, Dumper=WithoutAnchors, sort_keys=False, width=118)


def deployments(functions: dict[str, Entry]) -> dict[str, Entry]:
    """One for each owner, then one for each schedule."""
    owners = dict.fromkeys(_owner(name) for name in functions)
    bundles = {owner: _bundle(owner, _of(owner, functions)) for owner in owners}
    scheduled = {name: _alone(entry) for name, entry in functions.items() if "schedule" in entry["annotations"]}
    return bundles | scheduled


def _owner(name: str) -> str:
    return name.partition("-")[0]


def _of(owner: str, functions: dict[str, Entry]) -> dict[str, Entry]:
    return {name: entry for name, entry in functions.items() if _owner(name) == owner}


def _bundle(owner: str, functions: dict[str, Entry]) -> Entry:
    """What its functions need, together; every one of them is loaded, also those with a schedule."""
    some = next(iter(functions.values()))
    environments = (entry["environment"] for entry in functions.values())
    events = " ".join(f"{name}={topic}" for name, topic in _topics(functions))
    return {
        **{key: some[key] for key in ("lang", "handler", "readonly_root_filesystem")},
        "image": some["image"].replace(some["build_args"]["NAME"], owner),
        "build_args": {"NAME": owner},
        "labels": LABELS,
        **RESOURCES,
        "secrets": _united(entry.get("secrets", []) for entry in functions.values()),
        "environment": _shared_environment(environments),
        "annotations": {"caller": "several", **({"events": events} if events else {})},
    }


def _topics(functions: dict[str, Entry]) -> list[tuple[str, str]]:
    topics = [(name, entry["annotations"].get("topic", "")) for name, entry in functions.items()]
    return [(name, topic) for name, topic in topics if topic.startswith(PREFIX) or topic == DEAD_LETTERS]


def _united(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _shared_environment(environments: Iterable[dict[str, str]]) -> dict[str, str]:
    together: dict[str, str] = {}
    for environment in environments:
        together |= environment
    calls = {"FUNCTION_URL": INSIDE} if "FUNCTION_URL" in together else {}
    return {name: value for name, value in together.items() if name not in OF_ONE} | calls | SHARED


def _alone(entry: Entry) -> Entry:
    if "FUNCTION_URL" not in entry["environment"]:
        return entry
    return entry | {"environment": entry["environment"] | {"FUNCTION_URL": INSIDE}}


def stale() -> list[Path]:
    """The file, if it is missing or says something else than stack.yml."""
    return [] if FILE.exists() and FILE.read_text("utf-8") == profile() else [FILE]


def write() -> None:
    """Write it anew."""
    FILE.write_text(profile(), "utf-8")
