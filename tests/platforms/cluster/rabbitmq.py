"""What would run in RabbitMQ's pods: a real RabbitMQ."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

from tests.platforms.api.cluster import Cluster
from tests.platforms.cluster.network import GATEWAY
from tests.platforms.cluster.repeated import Repeated
from tools.local.rabbitmq import USER, RabbitMQ

AMQP, MANAGEMENT = 5672, 15672
SECRET = "rabbitmq-default-user"


class Managed(RabbitMQ):
    """A node with the management plugin, which the topology operator speaks to, on the ports of the cluster's."""

    plugins = ("rabbitmq_management",)
    user = USER

    def __init__(self, directory: Path):
        super().__init__(directory, AMQP)

    def _write_configuration(self) -> None:
        super()._write_configuration()
        path = self.directory / "rabbitmq.conf"
        # The addresses of its pods lead here too.
        text = path.read_text().replace(f"127.0.0.1:{AMQP}", f"0.0.0.0:{AMQP}")
        path.write_text(f"{text}management.tcp.ip = {GATEWAY}\nmanagement.tcp.port = {MANAGEMENT}\n")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A call of the management API."""
        headers = urllib3.make_headers(basic_auth=f"{USER}:{self.password}")
        url = f"http://{GATEWAY}:{MANAGEMENT}/api/{path}"
        answer = urllib3.request(method, url, json=body, headers=headers, retries=False, timeout=10)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.data.decode()}"
        return json.loads(answer.data) if answer.data else None

    def let_in(self, user: str, password: str, vhost: str = "/") -> None:
        """Make a user who may do everything in a virtual host."""
        self.ask("PUT", f"users/{quote(user)}", {"password": password, "tags": "administrator"})
        everything = dict.fromkeys(("configure", "write", "read"), ".*")
        self.ask("PUT", f"permissions/{quote(vhost, safe='')}/{quote(user)}", everything)


class Users(Repeated):
    """Does what RabbitMQ's pods would: it knows the user that the operator made."""

    def __init__(self, cluster: Cluster, rabbitmq: Managed):
        super().__init__("users")
        self.cluster, self.rabbitmq = cluster, rabbitmq
        self.known: str | None = None

    def again(self) -> None:
        found = self.cluster.get("secrets", "--namespace", "food")["items"]
        for secret in found:
            if secret["metadata"]["name"] == SECRET and secret["metadata"]["uid"] != self.known:
                user, password = (base64.b64decode(secret["data"][key]).decode() for key in ("username", "password"))
                self.rabbitmq.let_in(user, password)
                self.known = secret["metadata"]["uid"]
