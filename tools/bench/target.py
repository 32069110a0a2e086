"""The system that is measured, seen from outside: addresses and process ids."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import yaml

from tools.local.environment import Surroundings
from tools.local.place import Place

CLIENT = "client"
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Target:
    """A running system; `database` is the administrator's address, `processes` the ids of those that run here."""

    gateway: str
    database: str
    processes: dict[str, int]
    scraped: dict[str, str] = field(default_factory=dict)
    surroundings: Surroundings | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        parts = urlsplit(self.gateway)
        return parts.hostname or "127.0.0.1", parts.port or 80


def running(place: Place) -> Target:
    """The system that `make run` started here. Raises StartFailed when there is none."""
    told = place.required_running()
    processes = {name: pid for name, (pid, _) in told["processes"].items()}
    servers = {"PostgreSQL": place.postgres().pid, "RabbitMQ": place.rabbitmq().pid}
    processes |= {name: pid for name, pid in servers.items() if pid}
    return Target(
        told["gateway"],
        told["database"],
        processes | {SUPERVISOR: told["pid"], CLIENT: os.getpid()},
        _scraped(place),
        Surroundings(place.secrets, place.function_urls, told["database"], told["amqp"], told["broker"]),
    )


def _scraped(place: Place) -> dict[str, str]:
    """Where each process tells its metrics, as Prometheus would find them."""
    jobs = yaml.safe_load(place.prometheus_file.read_text())["scrape_configs"]
    return {job["job_name"]: f"http://{job['static_configs'][0]['targets'][0]}{job['metrics_path']}" for job in jobs}
