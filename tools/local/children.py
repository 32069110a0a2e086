"""The processes of a running system: started, kept running, and ended."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tools.local.environment import ROOT
from tools.local.forks import Fork
from tools.local.processes import last_lines, wait_until

PATIENCE = 15  # seconds that a process has to end in
STEADY = 60  # seconds after which an earlier failure is forgotten
LONGEST_PAUSE = 30


@dataclass
class Child:
    """One process and how to know that it is ready: `health` answers 200; without it, that it runs."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    health: str | None = None
    ready: bool = False
    failures: int = 0
    next_start: float = 0
    started: float = 0
    forked: bool = False
    cwd: Path = ROOT
    process: subprocess.Popen | Fork | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.runs else None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it in a process group of its own: Ctrl-C is for the one who started it all."""
        self.process = self._fork() if self.forked else self._spawn()
        self.started = time.monotonic()

    def _fork(self) -> Fork:
        """What its command says, `python -m module arguments`, out of a process that has imported the module."""
        _, _, module, *arguments = self.command
        return Fork(module, arguments, self.environment, self.log, self.name)

    def _spawn(self) -> subprocess.Popen:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> bool:
        """Whether it is ready; once it was, it stays so until it ends."""
        self.ready = self.runs and (self.ready or self.health is None or answers(self.health))
        return self.ready

    def keep_running(self) -> str | None:
        """Start it again, later each time, when it ended; what there is to say about it."""
        if self.process is None or self.runs:
            return None
        now = time.monotonic()
        if not self.next_start:
            self._end_workers()
            return self._plan_restart(now)
        if now >= self.next_start:
            self.next_start = 0
            self.start()
        return None

    def _end_workers(self) -> None:
        """Those that have outlived the process would hold its port; they are in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _plan_restart(self, now: float) -> str:
        self.failures = 1 if now - self.started > STEADY else self.failures + 1
        pause = min(0.5 * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self.next_start = now + pause
        was_ready, self.ready = self.ready, False
        how = _how(self.process.returncode)
        last = "" if was_ready else f": {last_lines(self.log, 1)}"
        return f"{self.name} ended ({how}){last}; starting it again in {pause:g} s, see {self.log}"

    def signal(self, number: int) -> None:
        """Signal the whole process group: a function's workers are in it too."""
        if self.runs:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def answers(url: str) -> bool:
    """Whether GET `url` is answered with 200."""
    parts = urlsplit(url)
    with suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=2) as connection:
        connection.sendall(f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        return connection.recv(64).split(b" ")[1:2] == [b"200"]
    return False


def stop(children: Iterable[Child]) -> list[str]:
    """End these together and wait for it; the names of those that had to be killed."""
    running = [child for child in children if child.runs]
    for child in running:
        child.signal(signal.SIGTERM)
    wait_until(lambda: not any(child.runs for child in running), PATIENCE)
    late = [child for child in running if child.runs]
    for child in late:
        child.signal(signal.SIGKILL)
        child.process.wait()
    return [child.name for child in late]
