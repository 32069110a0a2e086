"""OpenFaaS with our functions deployed: its own gateway and command, a provider of processes, our broker in front."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import urllib3
import yaml

from tests.platforms.openfaas.provider import Provider
from tests.platforms.programs import find
from tests.processes import trigger
from tests.system import OURS, QUICKLY, Http, Rows, eventually
from tools.local import children
from tools.local.children import Child
from tools.local.environment import ROOT, passed_on
from tools.local.processes import free_port, is_free, wait_until
from tools.local.rabbitmq import RabbitMQ
from tools.private_files import write_private
from tools.role_url import role_url
from triggers.stack import DEAD_LETTERS, load

# The gateway listens here, and nowhere else.
PORTS = (8080, 8082)
GATEWAY = f"http://127.0.0.1:{PORTS[0]}"
USER, PASSWORD = "admin", "not-a-secret-1"


@dataclass(frozen=True)
class Profile:
    """One way to deploy the functions."""

    name: str
    file: str
    address: str
    layout: str
    most: int | None
    from_zero: bool

    @property
    def deployments(self) -> list[str]:
        """All that the file lists."""
        return [*yaml.safe_load((ROOT / self.file).read_text("utf-8"))["functions"]]


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("whole", "stack.yml", "/function/{name}", "flat", None, True),
        Profile("community", "stack-ce.yml", "/function/{owner}/function/{name}", "folder", 15, False),
    )
}


class Cli:
    """faas-cli, with a configuration of its own, in a directory where it finds no stack.yml that nobody named."""

    def __init__(self, directory: Path, **environment: str):
        self.directory = directory
        self.environment = passed_on(os.environ) | {"OPENFAAS_CONFIG": str(directory / "faas-cli")} | environment

    def run(self, *arguments: str, stdin: str | None = "") -> subprocess.CompletedProcess:
        command, where = [str(find("faas-cli")), *arguments], {"cwd": self.directory, "env": self.environment}
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, **where)

    def __call__(self, *arguments: str, stdin: str | None = "") -> str:
        """What it prints, when all went well."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"faas-cli {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout


class OpenFaaS:
    """Everything, in the form in which the stories know the system."""

    def __init__(self, profile: Profile, directory: Path, secrets: Path, database: str, rabbitmq: RabbitMQ):
        self.profile, self.directory, self.rabbitmq = profile, directory, rabbitmq
        self.secrets = directory / "secrets"
        self.secrets.mkdir(parents=True)
        for name, text in _secrets(secrets, database).items():
            write_private(self.secrets / name, text)
        self.sql, self.exchange = Rows(database), f"openfaas.{profile.name}"
        self.broker, self.gateway = (Http(f"http://127.0.0.1:{free_port()}", sent) for sent in (OURS, {}))
        self.openfaas = Http(GATEWAY)
        limits = {"most": profile.most, "sleepy": profile.from_zero}
        self.provider = Provider(directory / "provider", profile.layout, (USER, PASSWORD), **limits)
        self.cli = Cli(directory, OPENFAAS_URL=GATEWAY, OPENFAAS_INSIDE=GATEWAY, BROKER_URL=self.broker.base)
        self.processes = {child.name: child for child in (self._front_door(), *self._triggers())}

    def channel(self) -> pika.adapters.blocking_connection.BlockingChannel:
        """A channel to RabbitMQ; its connection ends with `channel.connection.close()`."""
        return pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)).channel()

    def _front_door(self) -> Child:
        at = urllib3.util.parse_url(self.provider.url)
        environment = {
            "functions_provider_url": self.provider.url, "basic_auth": "true", "secret_mount_path": str(self.secrets),
            "scale_from_zero": str(self.profile.from_zero).lower(), "function_namespace": "openfaas-fn",
            "faas_prometheus_host": at.host, "faas_prometheus_port": str(at.port), "read_timeout": "60s",
            "write_timeout": "60s", "upstream_timeout": "55s",
        }  # fmt: skip
        log = self.directory / "openfaas-gateway.log"
        return Child("openfaas", [str(find("gateway"))], environment, log, f"{GATEWAY}/healthz")

    def _triggers(self) -> list[Child]:
        queues = {"AMQP_URL": self.rabbitmq.url, "EXCHANGE_NAME": self.exchange}
        ports = [urllib3.util.parse_url(http.base).port for http in (self.broker, self.gateway)]
        connector = {
            "CONNECTOR_GATEWAY_URL": GATEWAY,
            "CONNECTOR_REBUILD_SECONDS": 0.5,
            "BASIC_AUTH_USER_FILE": self.secrets / "basic-auth-user",
            "BASIC_AUTH_PASSWORD_FILE": self.secrets / "basic-auth-password",
        }
        return [
            trigger("ingress", self.directory, ports[0], **queues),
            trigger("gateway", self.directory, ports[1], FUNCTION_URL=GATEWAY + self.profile.address),
            trigger("connector", self.directory, **queues, **QUICKLY, **connector),
        ]

    # -- starting and stopping ---------------------------------------------------------------------------------

    def start(self) -> "OpenFaaS":
        for port in PORTS:
            output = f"OpenFaaS' gateway listens on port {port} and nowhere else: end the program that has it"
            assert wait_until(lambda port=port: is_free(port), 60), output
        self.provider.start()
        for process in self.processes.values():
            process.start()
        self.ready("openfaas", "ingress")
        self.cli("login", "--username", USER, "--password-stdin", stdin=PASSWORD)
        for file in sorted(self.secrets.iterdir()):
            if not file.name.startswith("basic-auth"):
                self.cli("secret", "create", file.name, "--from-file", str(file))
        self.deploy()
        self.serving()
        # Its health is that of the function ops-health.
        self.ready("gateway")
        return self

    def ready(self, *names: str) -> None:
        """Wait until these processes answer."""
        for name in names:
            process = self.processes[name]
            assert wait_until(process.check, 60), f"{name} did not start: {process.log.read_text()}"

    def deploy(self, *names: str) -> str:
        """Deploy these of the profile's file, or all, and wait until they work."""
        some = ["--regex", f"^({'|'.join(names)})$"] if names else []
        output = self.cli("deploy", "-f", str(ROOT / self.profile.file), *some)
        self.working(*names or self.profile.deployments)
        return output

    def working(self, *names: str) -> None:
        """Wait until each of these has a replica that works, or is asleep."""
        # Asking is not for nothing: every process that is not ready yet is asked for its health.
        in_time = wait_until(lambda: not self.late(*names), 180, every=0.3)
        assert in_time, f"not ready: {self.late(*names)}, see {self.provider.directory}"

    def late(self, *names: str) -> set[str]:
        """Which of these have no replica that works, though they are not asleep."""
        fine = (one["name"] for one in self.listed() if one.get("availableReplicas") or not one.get("replicas"))
        return set(names) - {*fine}

    def serving(self) -> None:
        """Wait until every event has somebody who takes it."""
        wanted = {function.name for function in load() if function.event_type or function.topic == DEAD_LETTERS}
        eventually(lambda: wanted <= self.served(), f"served: {wanted}")

    def served(self) -> set[str]:
        """The functions that the connector serves, as its log tells."""
        found: set[str] = set()
        for line in self.log_lines("connector"):
            if line["message"] == "function served":
                found.add(line["function"])
            elif line["message"].startswith("function gone"):
                found.discard(line["function"])
        return found

    def stop(self) -> None:
        for names in (("gateway",), ("connector", "ingress"), ("openfaas",)):
            children.stop([self.processes[name] for name in names])
        self.provider.stop()

    # -- looking at it -----------------------------------------------------------------------------------------

    def listed(self) -> list[dict[str, Any]]:
        """The functions that OpenFaaS' gateway lists."""
        headers = urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}")
        return self.openfaas.get("/system/functions", headers=headers).json

    def address(self, name: str) -> str:
        """A function's path at OpenFaaS' gateway."""
        return self.profile.address.format(name=name, owner=name.partition("-")[0])

    def function(self, name: str) -> Http:
        """A function by its name in stack.yml, through OpenFaaS' gateway."""
        is_public = next(one.is_public for one in load() if one.name == name)
        return Http(GATEWAY + self.address(name), {} if is_public else OURS)

    def log_lines(self, process: str) -> list[dict[str, Any]]:
        """What one of our processes has told so far."""
        text = self.processes[process].log.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def _secrets(installed: Path, database: str) -> dict[str, str]:
    """Every secret that a stack file names, and the gateway's own credentials."""
    roles = json.loads((installed / "roles.json").read_text())
    return {
        **{f"{owner}-database-url": role_url(database, owner, password) for owner, password in roles.items()},
        "jwt-public-key": (installed / "jwt-public.pem").read_text(),
        "jwt-private-key": (installed / "jwt-private.pem").read_text(),
        "oauth-client-secret": (installed / "oauth-client-secret").read_text(),
        "installation-token": (installed / "installation-token").read_text(),
        "basic-auth-user": USER,
        "basic-auth-password": PASSWORD,
    }
