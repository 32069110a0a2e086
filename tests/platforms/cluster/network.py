"""A network of the tests' own: addresses, ports and names that nothing else on the machine has.

The platforms' programs listen on the ports that they have in their containers, several of them on the same one, and
call each other by the names that a cluster gives them. So all of it happens in network and mount namespaces, which
`make interop-cluster` opens: a bridge, an interface for every program, every pod's address on this side of it, and a
hosts file.
"""

import os
import select
import socket
import socketserver
import subprocess
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

# Where the API server is, and every program that has no address of its own.
GATEWAY = "10.200.0.1"
PROGRAMS = "10.200.0.{}"
# Every address in here leads to the gateway: pods that are only said to run may have something that answers for them.
PODS = "10.64.0.0/16"
SERVICES = "10.96.0.0/16"
# What a cluster's DNS has behind the name and namespace of a Service.
SUFFIXES = ("", ".svc", ".svc.cluster.local")
# Where `ip` keeps the names of networks, and where CloudNativePG's operator keeps its webhook's certificate.
OWN = (Path("/run/netns"), Path("/run/secrets"))


def is_alone() -> bool:
    """Whether this process sees nothing but its own loopback."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def separate(name: str, link: str, address: str) -> None:
    """Make a network of one address whose only way out leads through the gateway.

    Its route comes before the one that leads the addresses of pods that are only said to run to this side.
    """
    ip(f"netns add {name}", f"link add {link} type veth peer name eth0 netns {name}")
    ip(f"link set {link} up", f"route add {address}/32 dev {link} src {GATEWAY} table local")
    ip(f"-n {name} link set lo up", f"-n {name} link set eth0 up")
    ip(f"-n {name} address add {address}/32 dev eth0", f"-n {name} route add {GATEWAY} dev eth0")
    ip(f"-n {name} route add default via {GATEWAY}")


class Forwarding(socketserver.ThreadingTCPServer):
    daemon_threads = True


class Connection(socketserver.BaseRequestHandler):
    """One connection, copied both ways until either side ends."""

    def __init__(self, *arguments: Any, target: int):
        self.target = target
        super().__init__(*arguments)

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection((GATEWAY, self.target)) as other:
            other_of = {self.request: other, other: self.request}
            while True:
                for ready in select.select(list(other_of), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    other_of[ready].sendall(data)


class Network:
    """Addresses and names, given out one after the other."""

    def __init__(self, directory: Path):
        self.hosts = directory / "hosts"
        self.names: dict[str, str] = {}
        self.called = {"localhost": "127.0.0.1", os.uname().nodename: GATEWAY}
        self.services: dict[str, str] = {}
        self.writing = threading.Lock()

    def start(self) -> None:
        """Make the bridge, the hosts file and folders that programs insist on; they go with the namespaces."""
        for folder in OWN:
            folder.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        self._write_hosts()
        subprocess.run(["mount", "--bind", self.hosts, "/etc/hosts"], check=True)
        ip("link set lo up", "link add br0 type bridge", f"address add {GATEWAY}/16 dev br0", "link set br0 up")
        ip(f"route add local {PODS} dev lo")

    def join(self, name: str) -> list[str]:
        """Give a program an address and a name; its command has to begin with these words."""
        address = PROGRAMS.format(len(self.names) + 10)
        ip(f"netns add {name}", f"link add v{len(self.names)} type veth peer name eth0 netns {name}")
        ip(f"link set v{len(self.names)} master br0 up", f"-n {name} link set lo up", f"-n {name} link set eth0 up")
        ip(f"-n {name} address add {address}/16 dev eth0", f"-n {name} route add default via {GATEWAY}")
        self.names[name] = address
        return ["ip", "netns", "exec", name]

    def call(self, name: str, address: str = GATEWAY) -> None:
        """Let everybody reach this address by that name."""
        self.called[name] = address
        self._write_hosts()

    def name_services(self, addresses: dict[str, str]) -> None:
        """Give every Service, by its name and namespace, the names that a cluster's DNS has for it.

        A name that was given to an address before stays with that.
        """
        self.services = {f"{name}{suffix}": address for name, address in addresses.items() for suffix in SUFFIXES}
        self._write_hosts()

    def forward(self, port: int, target: int) -> None:
        """Pass what comes to a port of the gateway's address on to another one, as a Service's own port does."""
        server = Forwarding((GATEWAY, port), partial(Connection, target=target))
        threading.Thread(target=server.serve_forever, name=f"port {port}", daemon=True).start()

    def _write_hosts(self) -> None:
        # The file is mounted, so it has to stay the same one, and may be read at any moment: it is written at once.
        with self.writing, self.hosts.open("r+b" if self.hosts.exists() else "wb", buffering=0) as hosts:
            names = self.called | self.services | self.called
            hosts.write("".join(f"{address} {name}\n" for name, address in names.items()).encode())
            hosts.truncate()
