"""A Kubernetes API server of the tests' own: etcd and kube-apiserver on loopback.

There are no nodes and no controllers, so nothing that is applied runs: it is checked and stored.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
import yaml
from Cryptodome.PublicKey import RSA

from tests.platforms import programs
from tools.local.children import Child
from tools.local.environment import ROOT
from tools.local.processes import free_port, last_lines, wait_until

TOKEN = "of-the-tests"  # the server listens on loopback only, and ends with the tests
PATIENCE = 180  # seconds; the server takes five of them on an idle machine, a minute on a busy one
FRONT_ENDS = ("kubectl", "kustomize", "kn", "faas-cli")


class Refused(Exception):
    """What a program wrote on standard error when it did not end with 0; `output` is what it had done by then."""

    def __init__(self, message: str, output: str):
        super().__init__(message)
        self.output = output

    @property
    def reason(self) -> str:
        """The server's own words, without the document that kubectl repeats before them."""
        return re.split("denied the request: |is invalid: |strict decoding error: ", str(self), maxsplit=1)[1]


class Cluster:
    """Talks to the server as its administrator, by the programs that people use."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.etcd_port, self.peer_port, self.port = free_port(), free_port(), free_port()
        self.children: list[Child] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.directory / "certificates" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def environment(self) -> dict[str, str]:
        """That of somebody who works with this cluster, and who has no file of his own at home."""
        return {
            "PATH": f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.directory / "home"),
            "KUBECONFIG": str(self.kubeconfig),
        }

    def run(self, *command: object, text: str | None = None, fine: tuple[int, ...] = (0,)) -> str:
        """The output of a command; Refused with its errors when it ends with another status."""
        words = [str(word) for word in command]
        options = {"env": self.environment, "cwd": ROOT, "input": text or "", "timeout": PATIENCE}
        done = subprocess.run(words, capture_output=True, text=True, **options)
        if done.returncode not in fine:
            raise Refused(f"{' '.join(words)}: {done.stderr}", done.stdout)
        return done.stdout

    def kubectl(self, *arguments: object, documents: list[dict] | None = None, fine: tuple[int, ...] = (0,)) -> str:
        """kubectl, with documents as its file where it gets any."""
        if documents is None:
            return self.run("kubectl", *arguments, fine=fine)
        # One after the other: of a List kubectl would check the fields itself, by rules of its own.
        text = "\n---\n".join(map(json.dumps, documents))
        return self.run("kubectl", *arguments, "--filename", "-", text=text, fine=fine)

    def get(self, *arguments: object) -> Any:
        """Whatever kubectl gets, as objects."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def add_namespaces(self, *namespaces: dict) -> None:
        """Namespaces with the account that a controller would make in each, for the pods that name none, and ours."""
        spaces = [each["metadata"]["name"] for each in namespaces]
        accounts = [account(space, name) for space in spaces for name in ("default", "food")]
        self.kubectl("apply", documents=[*namespaces, *accounts])

    def clear(self, documents: list[dict]) -> None:
        """Take these away, but for namespaces: to end one is a controller's work."""
        gone = [each for each in documents if each["kind"] != "Namespace"]
        self.kubectl("delete", "--wait=false", "--ignore-not-found", documents=gone)

    def start(self) -> None:
        for folder in ("bin", "home", "certificates"):
            (self.directory / folder).mkdir(parents=True)
        for name in FRONT_ENDS:
            (self.directory / "bin" / name).symlink_to(programs.find(name))
        self._write_credentials()
        self.launch("etcd", self._etcd(), health=f"http://127.0.0.1:{self.etcd_port}/health")
        self.launch("kube-apiserver", self._api_server(), health=None)
        self.until(self._is_ready, "kube-apiserver")

    def stop(self) -> None:
        """Nothing of it is kept, so nothing has to end gently: a webhook would take fifteen seconds for that."""
        for child in reversed(self.children):
            child.signal(signal.SIGKILL)
            child.process.wait()

    def launch(self, name: str, arguments: dict[str, object], health: str | None, **environment: str) -> None:
        """Start a program that ends with the cluster, and wait until it answers, or, without `health`, runs."""
        command = [str(programs.find(name)), *(f"--{flag}={value}" for flag, value in arguments.items())]
        child = Child(name, command, self.environment | environment, self.directory / f"{name}.log", health)
        self.children.append(child)
        child.start()
        self.until(child.check, name)

    def host(self, program: str) -> str:  # noqa: ARG002 - a cluster with more networks knows another for each
        """The name at which the API server reaches a program."""
        return "localhost"

    def until(self, condition: Any, name: str) -> None:
        """Wait for something of a program that was launched."""
        child = next(each for each in self.children if each.name == name)
        if not wait_until(lambda: not child.runs or condition(), PATIENCE) or not child.runs:
            raise AssertionError(f"{name} is not ready: {last_lines(child.log)}")

    def _is_ready(self) -> bool:
        try:
            pool = urllib3.PoolManager(ca_certs=str(self.certificate), retries=False, timeout=5)
            return pool.request("GET", f"{self.url}/readyz").status == 200
        except (OSError, urllib3.exceptions.HTTPError):
            return False

    def _write_credentials(self) -> None:
        (self.directory / "service-account.key").write_bytes(RSA.generate(2048).export_key())
        (self.directory / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        server = {"server": self.url, "certificate-authority": str(self.certificate)}
        # What names no namespace of its own lands in "default", where a test finds it.
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "tests", "cluster": server}],
                    "users": [{"name": "tests", "user": {"token": TOKEN}}],
                    "contexts": [
                        {"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": "default"}}
                    ],
                    "current-context": "tests",
                }
            )
        )

    def _etcd(self) -> dict[str, object]:
        clients, peers = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        return {
            "data-dir": self.directory / "etcd",
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }

    def _api_server(self) -> dict[str, object]:
        key = self.directory / "service-account.key"
        return {
            "etcd-servers": f"http://127.0.0.1:{self.etcd_port}",
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "cert-dir": self.certificate.parent,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "token-auth-file": self.directory / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.0.0.0/24",
        }


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """An empty cluster for as long as the block lasts."""
    cluster = Cluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def namespace(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def account(namespace: str, name: str) -> dict:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
