"""Plain manifests of an overlay, for anybody's pipeline: `--overlay small --host food.example.org`.

It writes a kustomization on top of the overlay (images, the public host, names of the Jobs) and has kubectl build it.
`--kustomization` prints that kustomization instead: the beginning of one of your own.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import yaml

from tools.generate.manifests import overlays
from tools.generate.manifests.listed import image
from tools.generate.manifests.monitoring import RELEASE
from tools.generate.manifests.public_host import HOST, ISSUER, SETTINGS
from triggers.stack import ROOT

K8S = ROOT / "k8s"
Document = dict[str, Any]


class RenderFailed(Exception):
    """The overlay could not be built; the text says why."""


def kustomization(
    overlay: str, registry: str | None = None, version: str | None = None, base: str = "../../k8s"
) -> Document:
    """What is put on top of an overlay; `base` is where k8s/ is, seen from there. Raises RenderFailed."""
    if overlay not in overlays.names():
        raise RenderFailed(f"overlay: expected one of {', '.join(overlays.names())}; got {overlay}")
    usual, _, usual_version = image("jobs").rpartition("/jobs:")
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{base}/overlays/{overlay}", f"{SETTINGS}.yaml"],
        "components": [f"{base}/settings"],
        "images": [
            {"name": name, "newName": name.replace(usual, registry or usual, 1), "newTag": version or usual_version}
            for name in _images(overlay, usual)
        ],
        "patches": [_renamed(job, f"{registry}:{version}") for job in _jobs(overlay)],
    }


def settings(host: str | None = None, issuer: str | None = None, release: str | None = None) -> Document:
    """What the component k8s/settings puts into its places."""
    about = {"name": SETTINGS, "annotations": {"config.kubernetes.io/local-config": "true"}}
    data = {"host": host or HOST, "issuer": issuer or ISSUER, "release": release or RELEASE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}


def rendered(overlay: str, registry: str | None = None, version: str | None = None, **more: str | None) -> str:
    """The documents of an overlay, as YAML; `host`, `issuer` and `release` may be others. Raises RenderFailed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        top = kustomization(overlay, registry, version, base=os.path.relpath(K8S, folder))
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(top))
        (folder / f"{SETTINGS}.yaml").write_text(yaml.safe_dump(settings(**more)))
        try:
            done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise RenderFailed("expected kubectl on the PATH, found none: install it") from None
    if done.returncode:
        raise RenderFailed(f"kubectl kustomize: {done.stderr.strip()}")
    return done.stdout


def _images(overlay: str, registry: str) -> list[str]:
    used = {
        container.get("image", "").rpartition(":")[0]
        for document in overlays.built(overlay)
        for container in overlays.containers(document)
    }
    return sorted(name for name in used if name.startswith(f"{registry}/"))


def _jobs(overlay: str) -> list[Document]:
    return [each for each in overlays.built(overlay) if each["kind"] == "Job"]


def _renamed(job: Document, images: str) -> Document:
    """A Job cannot be changed, so another one has another name."""
    content = hashlib.sha256((yaml.safe_dump(job["spec"]) + images).encode()).hexdigest()[:8]
    name = job["metadata"]["name"]
    operation = {"op": "replace", "path": "/metadata/name", "value": f"{name}-{content}"}
    return {
        "target": {"kind": "Job", "name": name},
        "patch": yaml.safe_dump([operation]),
        "options": {"allowNameChange": True},
    }


@click.command(help=__doc__)
@click.option("--overlay", default="production", show_default=True, help="a folder of k8s/overlays")
@click.option("--registry", help="where the images are, such as registry.example.org/food")
@click.option("--version", help="the images' tag")
@click.option("--host", help=f"the public host's name ({HOST})")
@click.option("--issuer", help=f"cert-manager's ClusterIssuer ({ISSUER})")
@click.option("--release", help=f"the label by which Prometheus finds its monitors ({RELEASE})")
@click.option("--kustomization", "own", is_flag=True, help="print the kustomization and its settings instead")
def main(overlay: str, registry: str | None, version: str | None, own: bool, **places: str | None) -> None:
    """See the module's text."""
    try:
        if own:
            parts = [kustomization(overlay, registry, version), settings(**places)]
            print(yaml.safe_dump_all(parts, sort_keys=False), end="")
        else:
            print(rendered(overlay, registry, version, **places), end="")
    except RenderFailed as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
