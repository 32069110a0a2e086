"""An OpenFaaS provider whose functions are processes of this machine: what faas-netes is in a cluster.

It speaks the provider's public API, takes the deployments as faas-cli sends them, and starts what their images would.
A process gets its deployment's variables and no others, so one that a stack file lacks is missing here too. Calls are
passed on as the provider's own proxy does it: a body of unknown length in chunks, its errors with a header that says
so, and the request's content type on an answer that has none.
"""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, Unauthorized
from werkzeug.routing import Map, Rule
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tools.install import owners
from tools.local import children
from tools.local.children import Child
from tools.local.processes import free_port
from triggers.gateway import OF_THE_CONNECTION

MOUNT = "/var/openfaas/secrets"
NAMESPACE = "openfaas-fn"
# What an image brings with it.
OF_THE_IMAGE = {"PATH": "/usr/bin:/bin", "HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
FROM_THE_PROVIDER = {"X-OpenFaaS-Internal": "proxy"}
RULES = Map(
    [
        Rule("/healthz", methods=["GET"], endpoint="healthz"),
        Rule("/api/v1/query", methods=["GET"], endpoint="query"),
        Rule("/system/info", methods=["GET"], endpoint="info"),
        Rule("/system/namespaces", methods=["GET"], endpoint="namespaces"),
        Rule("/system/functions", methods=["GET"], endpoint="list"),
        Rule("/system/functions", methods=["POST"], endpoint="deploy"),
        Rule("/system/functions", methods=["PUT"], endpoint="update"),
        Rule("/system/functions", methods=["DELETE"], endpoint="delete"),
        Rule("/system/function/<name>", methods=["GET"], endpoint="status"),
        Rule("/system/scale-function/<name>", methods=["POST"], endpoint="scale"),
        Rule("/system/secrets", methods=["GET"], endpoint="list_secrets"),
        Rule("/system/secrets", methods=["POST", "PUT"], endpoint="keep_secret"),
        Rule("/system/secrets", methods=["DELETE"], endpoint="forget_secret"),
        Rule("/system/logs", methods=["GET"], endpoint="logs"),
        Rule("/function/<name>", endpoint="call"),
        Rule("/function/<name>/<path:rest>", endpoint="call"),
    ],
    merge_slashes=False,
    strict_slashes=False,
)


class Deployed:
    """One deployment and the processes that are its replicas."""

    def __init__(self, spec: dict[str, Any], directory: Path, environment: dict[str, str]):
        self.spec, self.environment = spec, environment
        self.directory = directory
        self.created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.replicas: list[Child] = []
        self._turn = 0

    def scale(self, count: int) -> list[Child]:
        """Start what is missing; gives those that are too many, to be stopped by the caller."""
        while len(self.replicas) < count:
            self.replicas.append(self._replica())
        surplus = self.replicas[count:]
        del self.replicas[count:]
        return surplus

    def _replica(self) -> Child:
        port = free_port()
        name = self.spec["service"]
        environment = OF_THE_IMAGE | {"PORT": str(port)} | self.environment
        log = self.directory / f"{name}.log"
        made = Child(name, command(self.spec["image"]), environment, log, f"http://127.0.0.1:{port}/_/health")
        made.start()
        return made

    def ready(self) -> list[Child]:
        """The replicas that pass their health check; one that has crashed is started again."""
        for replica in self.replicas:
            replica.keep_running()
        return [replica for replica in self.replicas if replica.check()]

    def endpoint(self) -> str | None:
        """Where to send the next call, in turns."""
        ready = self.ready()
        self._turn += 1
        return ready[self._turn % len(ready)].health.removesuffix("/_/health") if ready else None

    @property
    def status(self) -> dict[str, Any]:
        """What the API tells about it."""
        return {
            "name": self.spec["service"],
            "namespace": NAMESPACE,
            **{key: value for key, value in self.spec.items() if key != "service"},
            "replicas": len(self.replicas),
            "availableReplicas": len(self.ready()),
            "createdAt": self.created,
        }


def command(image: str) -> list[str]:
    """What an image starts: an owner's functions behind one host, or one function, told by its variables which."""
    name = image.rpartition("/")[2].partition(":")[0]
    if name in owners():
        return ["env", f"OWNER={name}", sys.executable, "-m", "triggers.serve_owner"]
    return [sys.executable, "-m", "triggers.serve_function"]


class _Quiet(WSGIRequestHandler):
    """Keeps connections, and tells nothing about each request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        pass


class Provider:
    """The WSGI application; `layout` is how secrets are mounted: `flat` files, or a `folder` for each.

    With `sleepy` a function that may sleep does so until somebody calls it.
    """

    def __init__(self, directory: Path, layout: str, credentials: tuple[str, str], most: int | None, sleepy: bool):
        self.directory, self.layout, self.most, self.sleepy = directory, layout, most, sleepy
        self.credentials = credentials
        self.secrets: dict[str, str] = {}
        self.deployed: dict[str, Deployed] = {}
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.prometheus_answers = True
        self.port = free_port()
        self._lock = threading.RLock()
        self._pool = urllib3.PoolManager(num_pools=100, maxsize=32, retries=False, timeout=60)
        directory.mkdir(parents=True, exist_ok=True)

    # -- the server --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "Provider":
        self._server = make_server("127.0.0.1", self.port, self, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def pause(self) -> None:
        """Listen no more; the functions go on."""
        self._server.shutdown()
        self._server.server_close()

    def stop(self) -> None:
        self.pause()
        children.stop([replica for one in self.deployed.values() for replica in one.replicas])

    @Request.application
    def __call__(self, request: Request) -> Response:
        try:
            endpoint, values = RULES.bind_to_environ(request.environ).match()
            if request.path.startswith("/system/"):
                self._check(request)
            return getattr(self, f"_{endpoint}")(request, **values)
        except HTTPException as problem:
            return Response(problem.description, problem.code)

    def _check(self, request: Request) -> None:
        sent = request.authorization
        if sent is None or (sent.username, sent.password) != self.credentials:
            raise Unauthorized("invalid credentials")

    # -- the system --------------------------------------------------------------------------------------------

    def _healthz(self, _: Request) -> Response:
        return Response("OK")

    def _query(self, _: Request) -> Response:
        """Prometheus, which the gateway asks for the number of calls; here it has counted none."""
        empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
        return _json(empty) if self.prometheus_answers else Response("away", 503)

    def _info(self, _: Request) -> Response:
        return _json({"provider": "processes", "version": {"release": "1", "sha": "1"}, "orchestration": "none"})

    def _namespaces(self, _: Request) -> Response:
        return _json([NAMESPACE])

    def _list(self, _: Request) -> Response:
        with self._lock:
            return _json([one.status for one in self.deployed.values()])

    def _status(self, _: Request, name: str) -> Response:
        return _json(self._find(name).status)

    def _find(self, name: str) -> Deployed:
        found = self.deployed.get(name.removesuffix(f".{NAMESPACE}"))
        if found is None:
            raise NotFound(f"no such function: {name}")
        return found

    # -- deployments -------------------------------------------------------------------------------------------

    def _deploy(self, request: Request) -> Response:
        spec = request.get_json(force=True)
        with self._lock:
            if self.most and len(self.deployed) >= self.most:
                raise BadRequest(f"expected at most {self.most} functions")
            self._put(spec)
        return Response(status=202)

    def _update(self, request: Request) -> Response:
        spec = request.get_json(force=True)
        with self._lock:
            self._find(spec["service"])
            self._end(self.deployed[spec["service"]].scale(0))
            self._put(spec)
        return Response(status=202)

    def _put(self, spec: dict[str, Any]) -> None:
        if self.most and "," in (spec.get("annotations") or {}).get("topic", ""):
            raise BadRequest("annotation topic: expected one, got several")
        if missing := set(spec.get("secrets") or ()) - set(self.secrets):
            raise BadRequest(f"no such secret: {', '.join(sorted(missing))}")
        mounted = self._mount(spec)
        variables = {name: value.replace(MOUNT, str(mounted)) for name, value in (spec.get("envVars") or {}).items()}
        made = self.deployed[spec["service"]] = Deployed(spec, self.directory, variables)
        labels = spec.get("labels") or {}
        asleep = self.sleepy and labels.get("com.openfaas.scale.zero") == "true"
        made.scale(0 if asleep else int(labels.get("com.openfaas.scale.min", 1)))

    def _mount(self, spec: dict[str, Any]) -> Path:
        """The secrets of a deployment, and of no other, as files."""
        folder = self.directory / "mounted" / spec["service"]
        shutil.rmtree(folder, ignore_errors=True)
        for name in spec.get("secrets") or ():
            file = folder / name / name if self.layout == "folder" else folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.secrets[name])
            # In a container this is where the platform mounts it; here it has other users beside it.
            file.chmod(0o600)
        return folder

    def _delete(self, request: Request) -> Response:
        name = request.get_json(force=True)["functionName"]
        with self._lock:
            found = self._find(name)
            del self.deployed[name]
        self._end(found.scale(0))
        return Response(status=202)

    def _scale(self, request: Request, name: str) -> Response:
        with self._lock:
            surplus = self._find(name).scale(request.get_json(force=True)["replicas"])
        self._end(surplus)
        return Response(status=202)

    def _end(self, replicas: list[Child]) -> None:
        threading.Thread(target=children.stop, args=(replicas,), daemon=True).start()

    # -- secrets and logs --------------------------------------------------------------------------------------

    def _list_secrets(self, _: Request) -> Response:
        return _json([{"name": name, "namespace": NAMESPACE} for name in sorted(self.secrets)])

    def _keep_secret(self, request: Request) -> Response:
        secret = request.get_json(force=True)
        if request.method == "PUT" and secret["name"] not in self.secrets:
            raise NotFound(f"no such secret: {secret['name']}")
        self.secrets[secret["name"]] = secret["value"]
        return Response(status=202)

    def _forget_secret(self, request: Request) -> Response:
        if self.secrets.pop(request.get_json(force=True)["name"], None) is None:
            raise NotFound("no such secret")
        return Response(status=202)

    def _logs(self, request: Request) -> Response:
        name = request.args["name"]
        self._find(name)
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        shown = ({"name": name, "namespace": NAMESPACE, "timestamp": now, "text": line} for line in lines[-100:])
        return Response("".join(json.dumps(line) + "\n" for line in shown), content_type="application/x-ndjson")

    # -- calls -------------------------------------------------------------------------------------------------

    def _call(self, request: Request, name: str, rest: str = "") -> Response:  # noqa: ARG002 - taken as it was sent
        name = name.removesuffix(f".{NAMESPACE}")
        self.calls.append((request.method, name, dict(request.headers.items())))
        with self._lock:
            endpoint = name in self.deployed and self.deployed[name].endpoint()
        if not endpoint:
            return Response(f"No endpoints available for: {name}.", 503, FROM_THE_PROVIDER)
        try:
            return self._pass_on(request, endpoint)
        except urllib3.exceptions.HTTPError:
            return Response(f"Can't reach service for: {name}.", 500, FROM_THE_PROVIDER)

    def _pass_on(self, request: Request, endpoint: str) -> Response:
        path = "/" + request.environ["RAW_URI"].partition("/function/")[2].partition("/")[2]
        headers = dict(_kept(request.headers.items())) | {"X-Forwarded-Host": request.host}
        body = request.get_data()
        answer = self._pool.request(
            request.method, endpoint + path, body=body or None, headers=headers, redirect=False, decode_content=False,
            chunked=bool(body) and "chunked" in request.headers.get("Transfer-Encoding", ""),
        )  # fmt: skip
        kind = answer.headers.get("Content-Type") or request.headers.get("Content-Type") or "text/plain"
        headers = [pair for pair in _kept(answer.headers.items()) if pair[0].lower() != "content-type"]
        return Response(answer.data, answer.status, headers, content_type=kind)


def _kept(headers: Any) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in headers if name.lower().encode() not in OF_THE_CONNECTION)


def _json(body: Any) -> Response:
    return Response(json.dumps(body), content_type="application/json")
