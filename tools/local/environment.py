"""Where the local system keeps and finds everything, and what each of its processes is told of that.

A process gets the variables that it needs and no others: an owner's functions never see another's password.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.role_url import role_url

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"

PASSED_ON = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV"}
SETTINGS = {"TIME_ZONE", "PRICES", "PAST_DELIVERY_DATES", "LOG_LEVEL"}
# What a hash of a password or a large body took goes back to the system at once, and not to one of many arenas.
MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
PREFIXES = (
    "PYTHON",
    "COVERAGE_",
    "DISPATCHER_",
    "ORDER_",
    "AUTH_",
    "SAGA_",
    "CRON_",
    "GATEWAY_TIMEOUT_",
    "GATEWAY_IN_FLIGHT",
    "OTEL_",
)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What every process inherits: how programs run here, and the settings that a user may make."""
    known = PASSED_ON | SETTINGS
    return {name: value for name, value in environment.items() if name in known or name.startswith(PREFIXES)}


@dataclass(frozen=True)
class Environment:
    """The addresses of one running system; `database` is the administrator's."""

    secrets: Path
    function_urls: Path
    database: str
    amqp: str
    broker: str

    def of_functions(self, owner: str) -> dict[str, str]:
        """The environment of an owner's functions: its own role, and what calls and checks of tokens need."""
        password = json.loads((self.secrets / "roles.json").read_text())[owner]
        return {
            # The gateway.
            **({"AUTH_PROXIES": "1"} if owner == "auth" else {}),
            **self._of_all(),
            **self._token(),
            "DATABASE_URL": role_url(self.database, owner, password),
            "JWT_PUBLIC_KEY_FILE": str(self.secrets / "jwt-public.pem"),
            "THREADS": "4",
            **(self._of_auth() if owner == "auth" else {}),
        }

    def of_trigger(self, name: str, port: int | None = None, metrics_port: int | None = None) -> dict[str, str]:
        """The environment of a trigger: only those that speak AMQP get the address of RabbitMQ.

        The gateway passes on what strangers send, so it does not know by what the others know each other.
        """
        return {
            # Its functions share the processors with it, unless somebody says otherwise.
            **(
                {"DISPATCHER_AT_A_TIME": str(len(os.sched_getaffinity(0))), "DISPATCHER_AHEAD": "true"}
                if name in {"broker", "dispatcher"}
                else {}
            ),
            **self._of_all(),
            **({} if name == "gateway" else self._token()),
            **({"AMQP_URL": self.amqp} if name in {"broker", "ingress", "dispatcher"} else {}),
            **({"HOST": HOST, "PORT": str(port)} if port else {}),
            **({"METRICS_PORT": str(metrics_port)} if metrics_port else {}),
        }

    def _of_all(self) -> dict[str, str]:
        return {
            **passed_on(os.environ),
            "PYTHONUNBUFFERED": "1",
            **MEMORY,
            "BROKER_URL": self.broker,
            "FUNCTION_URLS": str(self.function_urls),
        }

    def _token(self) -> dict[str, str]:
        return {"INSTALLATION_TOKEN_FILE": str(self.secrets / "installation-token")}

    def _of_auth(self) -> dict[str, str]:
        return {
            "JWT_PRIVATE_KEY_FILE": str(self.secrets / "jwt-private.pem"),
            "OAUTH_CLIENT_SECRET_FILE": str(self.secrets / "oauth-client-secret"),
        }
