"""Processes that share the memory of what they have in common: each is forked from one that has imported it.

An owner's functions are a process of their own with secrets of their own, but most of its memory is the same
libraries in every one of them. The standard library's fork server imports those once; it gets no secret.
"""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.context import BaseContext, ForkServerProcess
from pathlib import Path

from tools.local.environment import MEMORY, ROOT

PRELOADED = ["tools.local.preloaded"]


def fork_server() -> BaseContext:
    """What every process here is forked by; whoever comes first starts it, so all must ask for it here."""
    # The C library reads these at the start of a program, and a fork starts none.
    os.environ |= MEMORY
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Fork:
    """A running process, with the words of subprocess.Popen."""

    def __init__(self, module: str, arguments: Sequence[str], environment: dict[str, str], log: Path, name: str):
        target = (module, [*arguments], environment, str(log), name)
        self._process: ForkServerProcess = fork_server().Process(target=_run, args=target, name=name, daemon=False)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, or minus the number of the signal that has ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Wait for its end."""
        self._process.join()
        return self._process.exitcode


def _run(module: str, arguments: list[str], environment: dict[str, str], log: str, name: str) -> None:
    """In the new process: become what a command of its own would have been."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    _redirect(log)
    Path("/proc/self/comm").write_text(name[:15])
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


def _redirect(log: str) -> None:
    nothing, lines = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number, handle in ((0, nothing), (1, lines), (2, lines)):
        os.dup2(handle, number)
