"""Single processes of the system, as a test starts and ends them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system import TOKEN
from tools.local.children import Child
from tools.local.environment import ROOT, passed_on
from tools.local.processes import wait_until


def trigger(name: str, directory: Path, port: int | None = None, **environment: object) -> Child:
    """A trigger's process, not started yet; with a port it is one that listens."""
    variables = {"HOST": "127.0.0.1", "PORT": str(port)} if port else {}
    variables |= {name: str(value) for name, value in environment.items()}
    health = f"http://127.0.0.1:{port}/health" if port else None
    return child(name, [sys.executable, "-m", f"triggers.{name}"], directory, health, **variables)


def child(name: str, command: list[str], directory: Path, health: str | None = None, **environment: str) -> Child:
    """Any process of the project, as a part of the tests' installation."""
    variables = passed_on(os.environ) | {"PYTHONUNBUFFERED": "1", "INSTALLATION_TOKEN": TOKEN} | environment
    return Child(name, command, variables, directory / f"{name}.log", health)


def start(process: Child) -> Child:
    """Start it and wait until it answers, or, where it does not listen, runs."""
    process.ready = False
    process.start()
    assert wait_until(process.check, 30), f"{process.name} did not start: {process.log.read_text()}"
    return process


def end(process: Child, number: int = signal.SIGTERM, seconds: float = 20) -> int:
    """Signal it, and give its exit status; one that ended before has that already."""
    process.signal(number)
    try:
        return process.process.wait(seconds)
    finally:
        process.signal(signal.SIGKILL)


def run(module: str, *arguments: str, **environment: object) -> subprocess.CompletedProcess:
    """Run a process that ends by itself; its environment is these variables, the tests' token, and no others of the
    project."""
    # Whatever system runs on this machine is not asked.
    variables = passed_on(os.environ) | {"LOCAL_DIR": "/nonexistent", "INSTALLATION_TOKEN": TOKEN}
    variables |= {name: str(value) for name, value in environment.items()}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30)


def log_of(process: Child) -> list[dict[str, Any]]:
    """What a process has written to its log, line by line."""
    lines = process.log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
