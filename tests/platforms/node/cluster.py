"""The cluster with its controllers, and a node that runs our pods: from a client to a function nothing is a stand-in.

Knative's own Envoy, activator, autoscaler and queue-proxies; Kubernetes' kube-proxy; Knative's ingress and
dispatchers with the variables that their controllers gave them; our images in containers. The servers are real too,
and stand beside the cluster: the pods that the operators of PostgreSQL and RabbitMQ make are played, and lead there.
"""

from base64 import b64decode
from pathlib import Path

import pg8000.native
from pg8000.native import identifier, literal

from tests.platforms import programs
from tests.platforms.api.cluster import Cluster
from tests.platforms.api.webhooks import apply
from tests.platforms.cluster.controllers import Controlled, knative
from tests.platforms.cluster.network import GATEWAY, SERVICES, Network, ip, separate
from tests.platforms.cluster.repeated import Repeated
from tests.platforms.images.containers import Image
from tests.platforms.node.api import Api, Unanswered
from tests.platforms.node.kubelet import BINDING, NAME, NODE, POLICY, Kubelet
from tests.platforms.servers.newer import Pooler
from tests.system import Rows
from tools.local.postgres import Postgres

POSTGRES = 5432
POOLER = "food-db-pooler"
# What pods without an image of ours run.
PROGRAMS = {
    "registry.example.org/knative/ingress": "ingress",
    "registry.example.org/knative/dispatcher": "dispatcher",
    "ko://knative.dev/serving/cmd/queue": "queue-proxy",
}
ADAPTER = "pingsource-mt-adapter"
# A revision falls asleep after seconds instead of minutes.
AUTOSCALER = {"stable-window": "6s", "scale-to-zero-grace-period": "3s", "scale-down-delay": "0s"}


class RunningCluster(Controlled):
    """A cluster in which our pods run."""

    def __init__(self, directory: Path, network: Network, images: dict[str, Image]):
        super().__init__(directory, network)
        api = Api(self)
        found = images | {image: programs.find(name) for image, name in PROGRAMS.items()}
        self.names, self.kubelet = Names(api, network), Kubelet(api, directory / "pods", found)

    def start(self) -> None:
        super().start()
        self.configure("knative-serving", "config-autoscaler", AUTOSCALER)
        # As the README of k8s/ says: otherwise they write every reply into their logs, with the data.
        self.configure("knative-eventing", "config-logging", {"loglevel.rabbitmq-trigger-controller": "warn"})
        self.kubelet.start()

    def stop(self) -> None:
        # Its pods end before the cluster does: nothing else would end them.
        self.kubelet.stop()
        self.names.stop()
        super().stop()

    def _start_nodes(self) -> None:
        super()._start_nodes()
        apply(self, [NODE, POLICY, BINDING])
        self.names.start()
        # There is no way to a Service's address until kube-proxy turns it into a pod's, and it does that on the way.
        ip(f"route add {SERVICES} dev br0 src {GATEWAY}")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self.launch("kube-proxy", health=None, arguments={
            "kubeconfig": self.kubeconfig, "hostname-override": NAME, "proxy-mode": "iptables",
            "conntrack-max-per-core": "0", "conntrack-min": "0", "conntrack-tcp-timeout-established": "0s",
            "conntrack-tcp-timeout-close-wait": "0s",
        })  # fmt: skip

    def start_schedules(self) -> None:
        """Knative's adapter of all PingSources, with the variables that their controller gave it."""
        made = self.get("deployment", ADAPTER, "--namespace", "knative-eventing")
        (container,) = made["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each["value"] for each in container["env"] if each.get("value")}
        common = {"NAMESPACE": "knative-eventing", **knative(ADAPTER, "knative-eventing")}
        self.launch_apart("mtping", {"kubeconfig": self.kubeconfig}, **{**given, **common})

    def _lead_to_the_inner_side(self) -> None:
        """Its Service leads there, by kube-proxy."""


class Names(Repeated):
    """Does what a cluster's DNS would: every Service has its names, in the hosts file that all share."""

    every = 0.3
    missed = (Unanswered,)

    def __init__(self, api: Api, network: Network):
        super().__init__("names")
        self.api, self.network = api, network
        self.known: dict[str, str] = {}

    def again(self) -> None:
        found = {f"{each['metadata']['name']}.{each['metadata']['namespace']}": each["spec"]
                 for each in self.api.list("/api/v1/services")}  # fmt: skip
        given = {name: spec.get("clusterIP", "None") for name, spec in found.items()}
        addresses = {name: address for name, address in given.items() if address != "None"}
        for name, spec in found.items():
            target = spec.get("externalName", "").removesuffix(".svc.cluster.local")
            if target in addresses:
                addresses[name] = addresses[target]
        if addresses != self.known:
            self.network.name_services(addresses)
            self.known = addresses


class Database(Postgres):
    """A server at the address of the machine that the played pods lead to."""

    def __init__(self, directory: Path):
        super().__init__(directory, POSTGRES, fast=True)
        self.settings["listen_addresses"] = "*"

    def start(self) -> None:
        super().start()
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 scram-sha-256\n")
        with self._connected() as connection:
            connection.run("SELECT pg_reload_conf()")

    def let_in(self, username: str, password: str, dbname: str) -> None:
        """Make a user who may make roles, and a database of that one's own."""
        with self._connected() as connection:
            connection.run(f"CREATE ROLE {identifier(username)} LOGIN CREATEROLE PASSWORD {literal(password)}")
            connection.run(f"CREATE DATABASE {identifier(dbname)} OWNER {identifier(username)}")

    def _connected(self) -> pg8000.native.Connection:
        return Rows(self.url()).connected()


class DatabaseUser(Repeated):
    """Does what PostgreSQL's first pod would: it knows the user that the operator made, and that one's database."""

    def __init__(self, cluster: Cluster, database: Database):
        super().__init__("database user")
        self.cluster, self.database = cluster, database
        self.known = False

    def again(self) -> None:
        if self.known:
            return
        secret = self.cluster.get("secret", "food-db-app", "--namespace", "food")["data"]
        given = {key: b64decode(secret[key]).decode() for key in ("username", "password", "dbname")}
        self.database.let_in(**given)
        self.known = True


class PoolerPod(Repeated):
    """Does what the pooler's pod would: PgBouncer at its address, with the parameters of the manifests."""

    def __init__(self, cluster: Cluster, directory: Path, database: Database):
        super().__init__("pooler")
        self.cluster = cluster
        self.pooler = NodePooler(directory / "pooler", POSTGRES, database)

    def stop(self) -> None:
        super().stop()
        self.pooler.stop()

    def again(self) -> None:
        if self.pooler.address:
            return
        ours = ("--namespace", "food", "--selector", f"cnpg.io/poolerName={POOLER}")
        addresses = [pod["status"].get("podIP") for pod in self.cluster.get("pods", *ours)["items"]]
        if any(addresses):
            given = self.cluster.get("poolers.postgresql.cnpg.io", POOLER, "--namespace", "food")["spec"]["pgbouncer"]
            self.pooler.begin(addresses[0], {"pool_mode": given["poolMode"], **given["parameters"]})


class NodePooler(Pooler):
    """PgBouncer in a network that has a pod's address."""

    host, address, enter = GATEWAY, "", ("ip", "netns", "exec", POOLER)

    def begin(self, address: str, parameters: dict[str, str]) -> None:
        separate(POOLER, "pooler", address)
        self.address, self.parameters = address, parameters
        self.start()
