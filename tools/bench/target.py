"""The system that is measured, seen from outside: addresses and process ids."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import yaml

from tools.local.environment import Environment
from tools.local.installation import Installation

CLIENT = "client"
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Target:
    """A running system; `database` is the administrator's address, `processes` the ids of those that run here."""

    gateway: str
    database: str
    processes: dict[str, int]
    scraped: dict[str, str] = field(default_factory=dict)
    environment: Environment | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        parts = urlsplit(self.gateway)
        return parts.hostname or "127.0.0.1", parts.port or 80


def running(installation: Installation) -> Target:
    """The system that `make run` started here. Raises StartFailed when there is none."""
    status = installation.required_running()
    processes = {name: pid for name, (pid, _) in status["processes"].items()}
    servers = {"PostgreSQL": installation.postgres().pid, "RabbitMQ": installation.rabbitmq().pid}
    processes |= {name: pid for name, pid in servers.items() if pid}
    return Target(
        status["gateway"],
        status["database"],
        processes | {SUPERVISOR: status["pid"], CLIENT: os.getpid()},
        _scraped(installation),
        Environment(
            installation.secrets, installation.function_urls, status["database"], status["amqp"], status["broker"]
        ),
    )


def _scraped(installation: Installation) -> dict[str, str]:
    """Where each process serves its metrics, as Prometheus would find them."""
    jobs = yaml.safe_load(installation.prometheus_file.read_text())["scrape_configs"]
    return {job["job_name"]: f"http://{job['static_configs'][0]['targets'][0]}{job['metrics_path']}" for job in jobs}
