"""One pod as processes: a network of its own, its containers in it, and what a kubelet does for them.

Readiness is asked, hooks are called, what ended is started again as the pod's policy says. Liveness is not asked, and
limits of CPU and memory are not set: this node has no control groups.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3

from tests.platforms.images.containers import Container, Image, Mount, own_environment
from tests.platforms.node.api import STRATEGIC, Api, NotFound, Unanswered
from tests.platforms.node.volumes import Given, Unsupported, mounts
from tools.local.children import Child
from tools.local.environment import ROOT
from tools.local.processes import wait_until

TICK = 0.1
# Between questions whether a container is ready, while it is not.
EAGER = 0.2
LONGEST_PAUSE = 10.0
# Between looks whether what is mounted has changed; a kubelet takes up to a minute.
REFRESH = 5.0
HOSTS = "/etc/hosts"
# By this queue-proxy knows whose probe it is.
AGENT = {"User-Agent": "kube-probe/1.37"}


class RunningContainer:
    """One container: its process, whether it is ready, and how it ended."""

    def __init__(self, spec: dict[str, Any], child: Child, address: str):
        self.spec, self.child, self.address = spec, child, address
        self.name = spec["name"]
        self.ready, self.asked, self.restarts = False, 0.0, 0
        # Whether it stays away after its end until somebody says otherwise.
        self.held = False
        self.status: int | None = None
        self.again_at = 0.0
        self.since = self.until = now()

    def start(self) -> None:
        self.child.start()
        self.ready, self.asked, self.status, self.since = False, 0.0, None, now()

    def look(self, restart: bool, even_if_well: bool) -> None:
        """Notice its end, start it again when that is due, and ask whether it is ready."""
        if self.child.runs:
            self._ask()
            return
        if self.status is None:
            self.status, self.until, self.ready = self.child.process.returncode, now(), False
            self.again_at = time.monotonic() + min(0.5 * 2**self.restarts, LONGEST_PAUSE)
        if restart and not self.held and (self.status or even_if_well) and time.monotonic() >= self.again_at:
            self.restarts += 1
            self.start()

    def _ask(self) -> None:
        probe = self.spec.get("readinessProbe")
        every = probe.get("periodSeconds", 10) if probe and self.ready else EAGER
        if time.monotonic() - self.asked >= every:
            self.ready = probe is None or self._is_well(probe)
            self.asked = time.monotonic()

    def _is_well(self, probe: dict[str, Any]) -> bool:
        if "httpGet" not in probe:
            raise Unsupported(f"a readiness probe of {self.name} that is no httpGet")
        return self.call(probe["httpGet"], probe.get("timeoutSeconds", 1)) in range(200, 400)

    def call(self, action: dict[str, Any], seconds: float) -> int | None:
        """The status of what a probe or a hook asks by HTTP; None when nothing answers."""
        url = f"http://{self.address}:{self._port(action['port'])}{action.get('path', '/')}"
        headers = AGENT | {each["name"]: each["value"] for each in action.get("httpHeaders", ())}
        try:
            return urllib3.request("GET", url, headers=headers, retries=False, timeout=seconds or EAGER).status
        except urllib3.exceptions.HTTPError:
            return None

    def _port(self, port: int | str) -> int:
        named = {each.get("name"): each["containerPort"] for each in self.spec.get("ports", ())}
        return port if isinstance(port, int) else named[port]

    def end(self, seconds: float) -> None:
        """Its hook, then SIGTERM."""
        hook = self.spec.get("lifecycle", {}).get("preStop", {}).get("httpGet")
        if hook and self.child.runs:
            self.call(hook, seconds)
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """To its first process, as a container engine does; it may just have ended by itself."""
        with suppress(OSError, ValueError):
            if pid := self.child.first if isinstance(self.child, Container) else self.child.pid:
                os.kill(pid, number)

    def report(self) -> dict[str, Any]:
        """As in a pod's status."""
        if self.status is None:
            state = {"running": {"startedAt": self.since}}
        else:
            reason = "Error" if self.status else "Completed"
            exit_code = self.status if self.status >= 0 else 128 - self.status
            state = {"terminated": {"exitCode": exit_code, "reason": reason, "startedAt": self.since,
                                    "finishedAt": self.until}}  # fmt: skip
        return {"name": self.name, "image": self.spec["image"], "imageID": self.spec["image"], "ready": self.ready,
                "started": self.status is None, "restartCount": self.restarts, "state": state}  # fmt: skip


class Pod:
    """A pod of this node, in a thread, from the moment that it is seen until nothing of it is left."""

    def __init__(
        self,
        api: Api,
        manifest: dict[str, Any],
        network: str,
        address: str,
        host: str,
        folder: Path,
        image_of: Callable[[str], Image | Path],
    ):
        self.api, self.manifest, self.address, self.host = api, manifest, address, host
        self.network, self.folder, self.image_of = network, folder, image_of
        self.spec = manifest["spec"]
        self.namespace, self.name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        self.containers: list[RunningContainer] = []
        self.problem = ""
        # Seconds that it has for its end, once somebody wants it to end.
        self.grace: float | None = None
        self._reported = ""
        self._began = now()
        self._given = Given(api, manifest, address, host)
        self._written = 0.0
        self.thread = threading.Thread(target=self._live, name=f"pod {self.name}", daemon=True)

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def _live(self) -> None:
        while self.grace is None and not self._begin():
            self._report()
            time.sleep(5 * TICK)
        while self.grace is None:
            try:
                for each in self.containers:
                    policy = self.spec.get("restartPolicy", "Always")
                    each.look(policy != "Never", policy == "Always")
            except Unsupported as problem:
                self.problem = str(problem)
            self._report()
            self._write_again()
            time.sleep(TICK)
        self._end()

    # -- beginning ---------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Start all containers; False while something that they need is not there."""
        try:
            volumes = self._given.write(self.folder / "volumes")
            made = [(spec, self._given.environment(spec)) for spec in self.spec["containers"]]
            self.containers = [self._running(spec, variables, volumes) for spec, variables in made]
        except (Unanswered, Unsupported) as problem:
            self.problem = str(problem)
            return False
        for each in self.containers:
            each.start()
        self.problem = ""
        return True

    def _write_again(self) -> None:
        """Secrets and ConfigMaps may have changed."""
        if time.monotonic() - self._written >= REFRESH:
            # It is tried again; what is there stays.
            with suppress(Unanswered, Unsupported):
                self._given.write(self.folder / "volumes")
            self._written = time.monotonic()

    def _running(self, spec: dict[str, Any], variables: dict[str, str], volumes: dict[str, Path]) -> RunningContainer:
        log = self.folder / f"{spec['name']}.log"
        enter = ["ip", "netns", "exec", self.network]
        found = self.image_of(spec["image"])
        if isinstance(found, Path):
            # A program without an image: it needs nothing of its volumes.
            command = [*enter, str(found), *spec.get("args", ())]
            child = Child(self.name, command, own_environment() | variables, log, cwd=ROOT)
        else:
            everything = [Mount(Path(HOSTS), HOSTS), *mounts(spec, volumes)]
            service = self.api.ask("GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]
            inside = {
                "HOSTNAME": self.name,
                "KUBERNETES_SERVICE_HOST": service["clusterIP"],
                "KUBERNETES_SERVICE_PORT": str(service["ports"][0]["port"]),
            }
            command = [*enter, *found.command(everything, spec.get("args", ()), inside | variables)]
            child = Container(self.name, command, own_environment(), log)
        return RunningContainer(spec, child, self.address)

    # -- what is said of it ------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        if not self.containers:
            return "Pending"
        ended = [each.status for each in self.containers]
        if self.spec.get("restartPolicy", "Always") == "Always" or None in ended:
            return "Running"
        if any(ended):
            return "Failed" if self.spec["restartPolicy"] == "Never" else "Running"
        return "Succeeded"

    def _report(self) -> None:
        is_ready = self.grace is None and bool(self.containers) and all(each.ready for each in self.containers)
        conditions = {"Initialized": True, "PodReadyToStartContainers": bool(self.containers),
                      "ContainersReady": is_ready, "Ready": is_ready}  # fmt: skip
        status = {
            "phase": self.phase,
            "hostIP": self.host,
            "hostIPs": [{"ip": self.host}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._began,
            "message": self.problem,
            "conditions": [{"type": kind, "status": str(holds)} for kind, holds in conditions.items()],
            "containerStatuses": [each.report() for each in self.containers],
        }
        text = json.dumps(status)
        if text != self._reported:
            # It is said again in a moment; or the pod is gone.
            with suppress(Unanswered):
                self.api.ask("PATCH", f"{self.path}/status", {"status": status}, STRATEGIC)
                self._reported = text

    # -- the end -----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """As the pod's grace allows; then nothing of it is left, and the API server is told so."""
        self._report()
        grace = self.grace or 0
        hooks = [threading.Thread(target=each.end, args=(grace,), daemon=True) for each in self.containers]
        for hook in hooks:
            hook.start()
        wait_until(lambda: not any(each.child.runs for each in self.containers), grace)
        for each in self.containers:
            each.child.signal(signal.SIGKILL)
            if each.child.process:
                each.child.process.wait()
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)
        uid = self.manifest["metadata"]["uid"]
        with suppress(NotFound, Unanswered):
            self.api.ask("DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
