"""Toxiproxy between the system and its servers: connections that are cut, delayed or stalled."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.platforms.programs import find
from tests.system import Http, eventually
from tools.local.processes import free_port

# The toxics of https://github.com/Shopify/toxiproxy, in milliseconds. A timeout of 0 holds every byte until it is
# taken away again, and closes nothing.
STALL = {"type": "timeout", "attributes": {"timeout": 0}}
DELAY = {"type": "latency", "attributes": {"latency": 150, "jitter": 100}}


class Toxiproxy:
    """The proxy's process, and its API."""

    def __init__(self, log: Path):
        self.http = Http(f"http://127.0.0.1:{free_port()}")
        command = [str(find("toxiproxy")), "-host", "127.0.0.1", "-port", self.http.base.rpartition(":")[2]]
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        eventually(self._answers, "Toxiproxy")

    def _answers(self) -> bool:
        try:
            return self.http.get("/version").status == 200
        except Exception:
            assert self._process.poll() is None, "Toxiproxy has ended"
            return False

    def before(self, name: str, port: int) -> int:
        """Stand before a server of this machine; gives the port on which the system finds it."""
        own = free_port()
        self._post("/proxies", {"name": name, "listen": f"127.0.0.1:{own}", "upstream": f"127.0.0.1:{port}"})
        return own

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """Cut every connection, and refuse new ones meanwhile."""
        self._post(f"/proxies/{name}", {"enabled": False})
        try:
            yield
        finally:
            self._post(f"/proxies/{name}", {"enabled": True})

    @contextmanager
    def toxic(self, name: str, toxic: dict[str, Any]) -> Iterator[None]:
        """Both directions of every connection suffer from it meanwhile."""
        streams = ("upstream", "downstream")
        for stream in streams:
            self._post(f"/proxies/{name}/toxics", toxic | {"name": stream, "stream": stream})
        try:
            yield
        finally:
            for stream in streams:
                self.http.delete(f"/proxies/{name}/toxics/{stream}")

    def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = self.http.post(path, json=body)
        assert answer.status in (200, 201), answer.text

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
