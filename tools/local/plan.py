"""Which processes the system is made of, on which ports, and what each is started with."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tools.local.children import Child
from tools.local.environment import HOST, Environment
from tools.local.installation import Installation

# Who stops together, before the functions.
STOPPED_FIRST = (("gateway", "cron"), ("broker",))


class Function(Protocol):
    """An entry of stack.yml, as far as it matters here."""

    name: str
    owner: str
    source: str
    target: str


class Plan:
    """Every process, by name; `urls` says where each function answers."""

    def __init__(
        self,
        installation: Installation,
        functions: Iterable[Function],
        each: bool,
        database: str,
        amqp: str,
        forked: bool = False,
    ):
        self.installation, self._forked = installation, forked
        self.urls: dict[str, str] = {}
        self.ports = {"gateway": installation.ports["GATEWAY_PORT"], "broker": installation.ports["BROKER_PORT"]}
        first = installation.ports["METRICS_PORT"]
        self.metrics_ports = {name: first + at for at, name in enumerate(("gateway", "cron"))}
        self.environment = Environment(
            installation.secrets, installation.function_urls, database=database, amqp=amqp, broker=installation.broker
        )
        start = self._alone if each else self._of_owner
        groups = [[function] for function in functions] if each else _by_owner(functions)
        self.functions = [start(installation.ports["FUNCTIONS_PORT"] + at, group) for at, group in enumerate(groups)]
        self.triggers = {name: self.trigger(name) for name in ("gateway", "broker", "cron")}

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [*self.triggers.values(), *self.functions]

    @property
    def all_ports(self) -> dict[str, int]:
        """Every port that is listened on, by what it is for."""
        return self.ports | {f"{name} metrics": port for name, port in self.metrics_ports.items()}

    @property
    def scraped(self) -> dict[str, tuple[str, str]]:
        """Where Prometheus finds metrics: host and port, and path, by the job's name."""
        ports = self.metrics_ports | {name: port for name, port in self.ports.items() if name != "gateway"}
        own = {name: (f"{HOST}:{port}", "/_/metrics") for name, port in ports.items()}
        metrics = {name: url for name, url in self.urls.items() if name.endswith("-metrics")}
        return own | {name: _parts(url) for name, url in metrics.items()}

    @property
    def stop_order(self) -> list[list[Child]]:
        """Who stops together; the functions last."""
        return [*([self.triggers[name] for name in together] for together in STOPPED_FIRST), self.functions]

    def variable(self, name: str) -> str:
        """The variable that moves a process to another port."""
        if name.endswith(" metrics"):
            return "METRICS_PORT"
        return {"gateway": "GATEWAY_PORT", "broker": "BROKER_PORT"}.get(name, "FUNCTIONS_PORT")

    def trigger(self, name: str) -> Child:
        """A trigger's process; `ingress` and `dispatcher` are the broker in two, with its port."""
        port = self.ports.get("broker" if name == "ingress" else name)
        health = f"http://{HOST}:{port}/health" if port else None
        command = [sys.executable, "-m", f"triggers.{name}"]
        known = self.environment.of_trigger(name, port, self.metrics_ports.get(name))
        environment = {"OTEL_SERVICE_NAME": name} | known
        return Child(name, command, environment, self._log(name), health, forked=self._forked)

    def _of_owner(self, port: int, functions: list[Function]) -> Child:
        owner = functions[0].owner
        self.urls |= {one.name: f"http://{HOST}:{port}/function/{one.name}" for one in functions}
        child = self._function(owner, owner, [sys.executable, "-m", "triggers.serve_owner"], port)
        child.environment |= {"OWNER": owner, "HOST": HOST, "PORT": str(port)}
        child.forked = self._forked
        return child

    def _alone(self, port: int, functions: list[Function]) -> Child:
        (function,) = functions
        self.urls[function.name] = f"http://{HOST}:{port}"
        framework = str(Path(sys.executable).with_name("functions-framework"))
        command = [framework, "--source", function.source, "--target", function.target]
        command += ["--host", HOST, "--port", str(port)]
        return self._function(function.name, function.owner, command, port)

    def _function(self, name: str, owner: str, command: list[str], port: int) -> Child:
        self.ports[name] = port
        environment = {"OTEL_SERVICE_NAME": name} | self.environment.of_functions(owner)
        return Child(name, command, environment, self._log(name), f"http://{HOST}:{port}/_/health")

    def _log(self, name: str) -> Path:
        return self.installation.logs / f"{name}.log"


def _parts(url: str) -> tuple[str, str]:
    address = urlsplit(url + "/internal/metrics")
    return address.netloc, address.path


def _by_owner(functions: Iterable[Function]) -> list[list[Function]]:
    groups: dict[str, list[Function]] = defaultdict(list)
    for function in functions:
        groups[function.owner].append(function)
    return list(groups.values())
