"""Write what is generated in k8s/ from stack.yml."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from tools.generate.manifests import knative, monitoring, public_host, secrets
from tools.generate.manifests.knative import Document
from tools.generate.manifests.listed import WithoutAnchors, owners
from tools.generate.manifests.roles import roles
from triggers.stack import ROOT

K8S = ROOT / "k8s"
GENERATED = "# Written by `make generate` from stack.yml; change it there, or in tools/generate/manifests.\n"

SERVICES = """
# {what}
# A step of the chain keeps one instance warm: an order passes eight of them, and a cold start at each would cost it
# seconds; the price is the memory of the idle instances. Everything else may sleep and pays with its first request.
# Readiness asks the process alone: without its database a function answers 503, which holds its events back, while
# one that is not ready would let them run into timeouts.
"""

TRIGGERS = """
# One Trigger for each event. Each has its own delivery and dead-letter sink: a Trigger with the one and without the
# other loses what fails, and the Broker's sink is not inherited. The RabbitMQ broker matches attributes exactly and
# knows nothing of spec.filters. The relay adds the installation's token, without which no step works.
"""

SCHEDULES = """
# Schedules. A PingSource knows seconds and refuses `@every`, so the schedules of stack.yml are rewritten. A run that
# is lost is made up for by the next one.
"""

GATEWAY = """
# The service behind the public host for the paths that no function has. It is private as all others are.
"""

BUNDLE_GATEWAY = """
# The service behind the public host: it passes every request on to the bundle that has the function.
"""


def text(comment: str, documents: Iterable[Document]) -> str:
    """A file: what it is, and its documents."""
    bodies = (yaml.dump(each, Dumper=Plain, sort_keys=False, allow_unicode=True, width=110) for each in documents)
    return GENERATED + comment.lstrip("\n") + "---\n" + "---\n".join(bodies)


class Plain(WithoutAnchors):
    """Lists indented, several lines as a block."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's
        return super().increase_indent(flow, False)


def _block(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Plain.add_representer(str, _block)


def kustomization(files: Iterable[str], kind: str = "Kustomization") -> str:
    """The list of a folder's files in apply order."""
    version = "v1alpha1" if kind == "Component" else "v1beta1"
    listed = "".join(f"  - {name}\n" for name in files)
    return f"{GENERATED}apiVersion: kustomize.config.k8s.io/{version}\nkind: {kind}\nresources:\n{listed}"


def functions() -> dict[str, str]:
    """The folder with a service for each function."""
    files = {}
    for at, owner in enumerate(owners()):
        comment = SERVICES.format(what=f"The functions of {owner}.")
        files[f"{60 + at}-{owner}.yaml"] = text(comment, knative.services(owner))
    return {**files, **_around(bundled=False)}


def bundles() -> dict[str, str]:
    """The folder with a service for each owner."""
    files = {"60-bundles.yaml": text(SERVICES.format(what="All functions of an owner in one."), knative.bundles())}
    return {**files, **_around(bundled=True)}


def _around(bundled: bool) -> dict[str, str]:
    triggers = [knative.trigger_of(one) for one in knative.steps()]
    schedules = [knative.schedule_of(one) for one in knative.scheduled()]
    comment = BUNDLE_GATEWAY if bundled else GATEWAY
    return {
        "70-triggers.yaml": text(TRIGGERS, triggers),
        "75-schedules.yaml": text(SCHEDULES, schedules),
        "80-gateway.yaml": text(comment, [knative.gateway(bundled)]),
    }


def folders() -> dict[str, dict[str, str]]:
    """Every generated folder with its files."""
    found = {"functions": functions(), "bundles": bundles()}
    for name, make in HOSTS.items():
        found[f"public-host/{name}"] = {"85-public-host.yaml": _rendered(make)}
    for folder, makers in MONITORED.items():
        found[folder] = {name: _rendered(make) for name, make in makers.items()}
    return found


def _rendered(make: Callable[[], list[Document]]) -> str:
    """The documents that `make` gives, under what it says about itself."""
    lines = inspect.getdoc(make).splitlines()
    return text("".join(f"# {line}".rstrip() + "\n" for line in lines), make())


HOSTS = {
    "istio": public_host.istio,
    "gateway-api": public_host.gateway_api,
    "domain-mapping": public_host.domain_mapping,
    "openfaas": public_host.of_openfaas,
}
MONITORED = {
    "monitoring/servers": {
        "91-servers.yaml": monitoring.servers,
        "92-alerts.yaml": monitoring.rules,
        "93-dashboard.yaml": monitoring.dashboard,
        "94-triggers.yaml": monitoring.triggers,
    },
    "monitoring/knative": {"90-functions.yaml": monitoring.functions, "95-broker.yaml": monitoring.broker},
    "monitoring/openfaas": {"90-functions.yaml": monitoring.of_openfaas},
}


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    found = {}
    for folder, contents in folders().items():
        kind = "Component" if folder.startswith(("public-host", "monitoring")) else "Kustomization"
        found |= {K8S / folder / name: body for name, body in contents.items()}
        found[K8S / folder / "kustomization.yaml"] = kustomization(contents, kind)
    more = {K8S / "roles.sql": roles(), K8S / "settings" / "kustomization.yaml": settings()}
    return found | more | {secrets.FILE: secrets.readable()}


def settings() -> str:
    """The component k8s/settings."""
    lines = "".join(f"# {line}\n" for line in inspect.getdoc(public_host.settings).splitlines() if line)
    return GENERATED + lines + yaml.dump(public_host.settings(), Dumper=Plain, sort_keys=False)


def stale() -> list[Path]:
    """The files that are missing or say something else than stack.yml, and those that nothing generates any more."""
    wanted = files()
    changed = [path for path, body in wanted.items() if not path.exists() or path.read_text("utf-8") != body]
    there = {path for folder in folders() for path in (K8S / folder).glob("*.yaml")}
    return changed + sorted(there - set(wanted))


def write() -> None:
    """Write every file, and delete those that nothing generates any more."""
    wanted = files()
    for path in stale():
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
        else:
            path.unlink()
