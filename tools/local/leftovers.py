"""What a run leaves behind whose supervisor was killed: found by run.json, and ended in the order of any other stop.

A watchdog does so at once. Should it be killed too, the next `make stop` or `make run` does.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local.environment import ROOT
from tools.local.forks import fork_server
from tools.local.installation import Installation
from tools.local.plan import STOPPED_FIRST
from tools.local.processes import start_time, wait_until

PATIENCE = 15  # seconds that they have to end in
SERVERS = {"RabbitMQ": signal.SIGTERM, "PostgreSQL": signal.SIGINT}


@dataclass(frozen=True)
class Group:
    """A process as run.json has it, and its workers: they are in its process group, and may have outlived it."""

    name: str
    pid: int
    start: int

    @property
    def members(self) -> list[int]:
        """Those that still run."""
        return [pid for pid in _in_group(self.pid) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        if pid == self.pid:
            return start_time(pid) == self.start
        # Its number may be another group's by now.
        return start_time(pid) >= self.start and _directory(pid) == ROOT

    def send(self, number: int) -> None:
        """Signal all of them."""
        for pid in self.members:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _in_group(group: int) -> list[int]:
    """The processes of a process group, without those of which only the exit status is left."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_process, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(of_process) == group and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def _directory(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def end_leftovers(status: dict[str, Any] | None) -> int:
    """End what run.json lists and still runs; returns how many processes that were."""
    status = status or {}
    known = {name: Group(name, *where) for name, where in status.get("processes", {}).items()}
    servers = {name: Group(name, *where) for name, where in status.get("servers", {}).items()}
    count = sum(len(group.members) for group in (*known.values(), *servers.values()))
    for names in STOPPED_FIRST:
        _end([known.pop(name) for name in names if name in known], signal.SIGTERM)
    _end(known.values(), signal.SIGTERM)
    for name, number in SERVERS.items():
        _end([servers[name]] if name in servers else [], number)
    return count


def _end(groups: Iterable[Group], number: int) -> None:
    left = [group for group in groups if group.members]
    for group in left:
        group.send(number)
    if not wait_until(lambda: not any(group.members for group in left), PATIENCE, every=0.05):
        for group in left:
            group.send(signal.SIGKILL)


class Watchdog:
    """A process that does nothing as long as this one lives, and ends what is left when it is killed."""

    def __init__(self, installation: Installation):
        self._process = fork_server().Process(target=_outlive, args=(installation,), name="watchdog", daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self) -> None:
        """Nothing will be left."""
        self._process.kill()
        self._process.join()


def _outlive(installation: Installation) -> None:
    os.setsid()
    Path("/proc/self/comm").write_text("watchdog")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor = multiprocessing.parent_process()
    supervisor.join()
    status = installation.status()
    # Another run may have begun meanwhile.
    if status and status["pid"] == supervisor.pid:
        end_leftovers(status)
        status = installation.status()
        if status and status["pid"] == supervisor.pid:
            installation.run_file.unlink(missing_ok=True)
