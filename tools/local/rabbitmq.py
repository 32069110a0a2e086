"""A private RabbitMQ node with everything it needs in one directory, apart from any that the system runs."""

import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tools.local.processes import (
    StartFailed,
    command_line,
    end,
    last_lines,
    require_free,
    short_name,
    wait_until,
)
from tools.private_files import kept_password

USER = "food"
PACKAGED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in /usr/sbin insists on the user rabbitmq

CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
log.file.level = warning
log.console = false
"""

ERLANG_OPTIONS = "-sname {node} +S 2:2 +SDio 4 +sbwt none +sbwtdcpu none +sbwtdio none"

# A single node has nobody to talk to: it opens no second port, and needs no epmd, which would be left running.
# These go to every Erlang below it too: once a minute it starts one only to have an epmd.
NO_DISTRIBUTION = "-dist_listen false -start_epmd false -erl_epmd_port 1"

# The only name that it has to know; otherwise two processes ask the system for names, and outlive it for a moment.
NAMES = """\
{lookup, [file]}.
{host, {127,0,0,1}, ["localhost"]}.
"""


def find_server() -> Path:
    """RabbitMQ's own start script. Raises StartFailed when it is not installed."""
    on_path = shutil.which("rabbitmq-server")
    if PACKAGED.exists() or on_path:
        return (PACKAGED if PACKAGED.exists() else Path(on_path)).resolve()
    raise StartFailed(
        "no RabbitMQ server found: install the package rabbitmq-server, or set AMQP_URL to one's address"
    )


class RabbitMQ:
    """Start and stop one node; `directory` keeps its messages, its log and its password between runs.

    `settings` are lines of its configuration beside ours, from the next start on.
    """

    port_variable = "LOCAL_RABBITMQ_PORT"
    plugins: tuple[str, ...] = ()

    def __init__(self, directory: Path, port: int):
        self.directory = Path(directory).absolute()
        self.port = port
        self.settings: dict[str, str] = {}
        self.node = f"food-{short_name(self.directory)}@localhost"
        self.log = self.directory / "rabbitmq.log"
        self._process: subprocess.Popen | None = None

    @property
    def password(self) -> str:
        """The password of the only user, made at the first start."""
        return kept_password(self.directory / "password")

    @property
    def url(self) -> str:
        """The node's AMQP address, user and password included."""
        return f"amqp://{USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/%2F"

    @property
    def pid(self) -> int | None:
        """The process id of this directory's node, whoever started it; None when it does not run."""
        with suppress(OSError, ValueError):
            pid = int((self.directory / "pid").read_text())
            return pid if self.node in command_line(pid) else None

    @property
    def runs(self) -> bool:
        """Whether the server that was started here still runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the node and wait until it speaks AMQP. What an earlier run left behind is ended first."""
        if self.runs:
            return
        server = find_server()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stop()
        require_free(self.port, "RabbitMQ", self.port_variable)
        self._write_configuration()
        lean = _lean_copy(server, self.directory / "release", {"rabbit", *self.plugins})
        if not any(self._try_start(script) for script in dict.fromkeys((lean, server))):
            raise StartFailed(f"RabbitMQ did not start; the end of {self.log}:\n{self._last_words()}")

    def stop(self) -> None:
        """Stop the node and wait for its end; what was confirmed is on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start: every connection breaks, every confirmed persistent message stays."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop the node and delete everything it had."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write_configuration(self) -> None:
        settings = CONFIGURATION.format(port=self.port, user=USER, password=self.password)
        settings += "".join(f"{name} = {value}\n" for name, value in self.settings.items())
        path = self.directory / "rabbitmq.conf"
        path.touch(mode=0o600)
        path.write_text(settings)
        (self.directory / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")
        (self.directory / "inetrc").write_text(NAMES)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),  # where Erlang keeps its cookie
            "ERL_ZFLAGS": NO_DISTRIBUTION,
            "ERL_INETRC": str(self.directory / "inetrc"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_LOGS": str(self.log),
            "detached": "1",  # the script becomes the node: one process to signal
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",  # bound threads would fight with those of a second node
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_OPTIONS.format(node=self.node),
        }

    def _try_start(self, script: Path) -> bool:
        with (self.directory / "start.log").open("w") as log:
            self._process = subprocess.Popen(
                [script],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
            )
        (self.directory / "pid").write_text(str(self._process.pid))
        wait_until(lambda: speaks_amqp("127.0.0.1", self.port) or self._process.poll() is not None, 120, every=0.05)
        return self._process.poll() is None

    def _end(self, first: int) -> None:
        # The file may be gone, with the directory; a node that was started here is known without it.
        if pid := self.pid or (self._process and self._process.poll() is None and self._process.pid):
            end(pid, first, seconds=30)
        if self._process:
            self._process.wait()

    def _last_words(self) -> str:
        return "\n".join(filter(None, map(last_lines, (self.log, self.directory / "start.log"))))


def speaks_amqp(host: str, port: int) -> bool:
    """Offer the protocol's header; a node that is ready answers with a method frame (type 1, channel 0)."""
    with suppress(OSError), socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(3) == b"\x01\x00\x00"
    return False


def _lean_copy(server: Path, release: Path, wanted: set[str]) -> Path:
    """Links to the server without most of its plugins: it looks through all of them at every start.

    Starting takes 2.6 seconds instead of 7. Gives the start script to use.
    """
    applications = {path.stem: path for path in (server.parents[1] / "plugins").glob("*/ebin/*.app")}
    shutil.rmtree(release, ignore_errors=True)
    (release / "plugins").mkdir(parents=True)
    for name in _needed(wanted, applications):
        home = applications[name].parents[1]
        (release / "plugins" / home.name).symlink_to(home)
    for folder in ("sbin", "escript"):
        (release / folder).symlink_to(server.parents[1] / folder)
    return release / "sbin" / server.name


def _needed(wanted: set[str], applications: dict[str, Path]) -> set[str]:
    """What Erlang applications stand on, themselves included, as far as it is among `applications`."""
    needed: set[str] = set()
    missing = wanted
    while missing:
        needed |= missing
        texts = "".join(applications[name].read_text() for name in missing)
        lists = re.findall(r"\{(?:included_)?applications,\s*\[([^\]]*)\]", texts)
        missing = (set(re.findall(r"\w+", " ".join(lists))) & applications.keys()) - needed
    return needed
