"""What a pod's containers are given: their environment and their volumes, as the kubelet's documentation says."""

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.platforms.images.containers import Mount
from tests.platforms.node.api import Api, NotFound

FIELD_OF_A_MAP = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
REFERENCE = re.compile(r"\$\((\w+)\)")
SECONDS_OF_A_TOKEN = 3600


class Unsupported(Exception):
    """Something in a pod that this node does not know; the text names it."""


class Given:
    """What a pod refers to: Secrets, ConfigMaps, tokens of its account, its own fields."""

    def __init__(self, api: Api, pod: dict[str, Any], address: str, host: str):
        self.api, self.pod = api, pod
        self.namespace = pod["metadata"]["namespace"]
        # It is not in what the pod was when it was created.
        self.status = {"status.podIP": address, "status.podIPs": address, "status.hostIP": host}

    def environment(self, container: dict[str, Any]) -> dict[str, str]:
        """A container's variables. Raises NotFound while a Secret or ConfigMap is missing."""
        made: dict[str, str] = {}
        for variable in container.get("env", ()):
            value = self._value(variable)
            if value is not None:
                made[variable["name"]] = REFERENCE.sub(lambda found: made.get(found[1], found[0]), value)
        return made

    def _value(self, variable: dict[str, Any]) -> str | None:
        source = variable.get("valueFrom")
        if source is None:
            return variable.get("value", "")
        ((kind, wanted),) = source.items()
        if kind == "fieldRef":
            return self.field(wanted["fieldPath"])
        if kind not in ("secretKeyRef", "configMapKeyRef"):
            raise Unsupported(f"the variable {variable['name']} comes from {kind}")
        try:
            return self._keys(kind.removesuffix("KeyRef"), wanted["name"])[wanted["key"]].decode()
        except (KeyError, NotFound):
            if wanted.get("optional"):
                return None
            raise NotFound(f"{wanted['name']} has no {wanted['key']} yet") from None

    def field(self, path: str) -> str:
        """A field of the pod's own, as text."""
        if path in self.status:
            return self.status[path]
        if found := FIELD_OF_A_MAP.fullmatch(path):
            return self.pod["metadata"].get(found[1], {}).get(found[2], "")
        value: Any = self.pod
        for name in path.split("."):
            value = value.get(name, "")
        if isinstance(value, dict):
            return "\n".join(f'{key}="{text}"' for key, text in sorted(value.items()))
        return str(value)

    def _keys(self, kind: str, name: str) -> dict[str, bytes]:
        """A Secret's or ConfigMap's data. Raises NotFound."""
        plural = "secrets" if kind == "secret" else "configmaps"
        found = self.api.ask("GET", f"/api/v1/namespaces/{self.namespace}/{plural}/{name}").get("data", {})
        return {key: b64decode(text) if kind == "secret" else text.encode() for key, text in found.items()}

    # -- volumes -----------------------------------------------------------------------------------------------

    def write(self, folder: Path) -> dict[str, Path]:
        """Every volume as a folder, by its name. Raises NotFound while something of them is missing.

        What has changed is replaced, file by file, under those who read it.
        """
        made = {}
        for volume in self.pod["spec"].get("volumes", ()):
            ((kind, source),) = ((key, value) for key, value in volume.items() if key != "name")
            made[volume["name"]] = target = folder / volume["name"]
            target.mkdir(parents=True, exist_ok=True)
            if kind == "emptyDir":
                target.chmod(0o777)
                continue
            for path, content in self._files(kind, source):
                _replace(target / path, content)
        return made

    def _files(self, kind: str, source: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        match kind:
            case "projected":
                for each in source["sources"]:
                    ((inner, content),) = each.items()
                    yield from self._files(inner, content)
            case "secret" | "configMap":
                yield from self._of_keys(kind, source)
            case "downwardAPI":
                for item in source["items"]:
                    yield item["path"], self.field(item["fieldRef"]["fieldPath"]).encode()
            case "serviceAccountToken":
                yield source["path"], self._token(source).encode()
            case _:
                raise Unsupported(f"a volume of the kind {kind}")

    def _of_keys(self, kind: str, source: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        try:
            found = self._keys(kind, source.get("secretName") or source["name"])
        except NotFound:
            if source.get("optional"):
                return
            raise
        items = source.get("items") or [{"key": key, "path": key} for key in found]
        for item in items:
            if item["key"] not in found:
                raise NotFound(f"{source} has no {item['key']} yet")
            yield item["path"], found[item["key"]]

    def _token(self, source: dict[str, Any]) -> str:
        account = self.pod["spec"].get("serviceAccountName", "default")
        spec = {"expirationSeconds": SECONDS_OF_A_TOKEN}
        if "audience" in source:
            spec["audiences"] = [source["audience"]]
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.api.ask("POST", path, body)["status"]["token"]


def _replace(file: Path, content: bytes) -> None:
    if file.exists() and file.read_bytes() == content:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}")
    beside.write_bytes(content)
    beside.chmod(0o644)
    beside.rename(file)


def mounts(container: dict[str, Any], volumes: dict[str, Path]) -> list[Mount]:
    """Where a container sees the volumes, those further out first."""
    found = []
    for each in sorted(container.get("volumeMounts", ()), key=lambda each: each["mountPath"]):
        source = volumes[each["name"]] / each.get("subPath", "")
        found.append(Mount(source, each["mountPath"], "ro" if each.get("readOnly") else "rw"))
    return found
