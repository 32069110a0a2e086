"""Stands in for CloudNativePG's instance managers, which answer their operator from inside the pods.

Every pod's address leads to this machine, so one server on the instance manager's port can answer for all of them, by
TLS with the certificate that the operator has made: each of them works, and the target primary has become primary.
PostgreSQL itself does not run. All else of a Cluster is the real operator's doing.
"""

import hashlib
import json
import ssl
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.platforms import programs
from tests.platforms.api.cluster import Cluster
from tests.platforms.cluster.controllers import MACHINE
from tests.platforms.cluster.repeated import Repeated

PORT = 8000
# What every instance tells of itself; an instance manager of another version would be replaced.
TOLD = {
    "systemID": "7312345678901234567",
    "currentLsn": "0/3000060",
    "replayLsn": "0/3000060",
    "timeLineID": 1,
    "instanceManagerVersion": "1.27.0",
    "instanceArch": MACHINE,
}


class Instances(Repeated):
    """The stand-in, in two threads: one answers, the other looks after certificates and primaries."""

    def __init__(self, cluster: Cluster, directory: Path):
        super().__init__("instances")
        self.cluster, self.directory = cluster, directory
        program = programs.find("cnpg-operator").read_bytes()
        self.status = TOLD | {"executableHash": hashlib.sha256(program).hexdigest()}
        self.primaries: dict[str, str] = {}  # address of the primary, by the cluster's name
        self.certificate: str | None = None
        self.server: ThreadingHTTPServer | None = None

    def stop(self) -> None:
        super().stop()
        self._close()

    def again(self) -> None:
        for found in self.cluster.get("clusters.postgresql.cnpg.io", "--namespace", "food")["items"]:
            self._tend(found)

    def _tend(self, found: dict[str, Any]) -> None:
        name, status = found["metadata"]["name"], found.get("status", {})
        self._serve(f"{name}-server")
        target = status.get("targetPrimary")
        if not target:
            return
        self.primaries[name] = self.cluster.get("pod", target, "--namespace", "food")["status"].get("podIP")
        if target != status.get("currentPrimary"):
            patch = json.dumps({"status": {"currentPrimary": target}})
            where = ("--namespace", "food", "--subresource=status", "--type=merge", "--patch", patch)
            self.cluster.kubectl("patch", "clusters.postgresql.cnpg.io", name, *where)

    def _serve(self, secret: str) -> None:
        """Answer with the certificate of this Secret, from the moment on that there is one."""
        data = self.cluster.get("secret", secret, "--namespace", "food")["data"]
        if data["tls.crt"] == self.certificate:
            return
        self._close()
        pem = self.directory / "instance.pem"
        pem.write_bytes(b64decode(data["tls.key"]) + b64decode(data["tls.crt"]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server = ThreadingHTTPServer(("0.0.0.0", PORT), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, name="instance manager", daemon=True).start()
        self.certificate = data["tls.crt"]

    def _close(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        instances = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = self.connection.getsockname()[0]
                answered = instances.status | {"isPrimary": address in instances.primaries.values()}
                body = json.dumps(answered).encode()
                self.send_response(200 if self.path == "/pg/status" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
