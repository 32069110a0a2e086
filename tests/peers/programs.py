"""What the peers need, made once in a folder of their own: a virtual environment each, Restate's server by npm."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tools.local.environment import ROOT
from tools.local.processes import StartFailed

HERE = Path(__file__).parent
SERVER = "node_modules/@restatedev/restate-server-*/bin/restate-server"


class Missing(Exception):
    """A peer cannot be measured on this machine; the text says what to install."""


def folder() -> Path:
    """Where everything is kept between runs; PEERS_DIR names another place."""
    return Path(os.environ.get("PEERS_DIR") or ROOT / ".local" / "peers").absolute()


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is missing or its list has changed."""
    place, wanted = folder() / peer, HERE / peer / "requirements.txt"
    python, stamp = place / "bin" / "python", place / "made-from"
    if not _is_made(stamp, wanted):
        shutil.rmtree(place, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(place))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted))
        shutil.copy(wanted, stamp)
    return python


def restate_server() -> Path:
    """Restate's server. Raises Missing where npm is not there, or has no server for this machine."""
    place, wanted = folder() / "restate_server", HERE / "on_restate" / "package.json"
    stamp = place / "made-from"
    if not _is_made(stamp, wanted):
        if not shutil.which("npm"):
            raise Missing("npm is not there: install Node.js 20 or newer")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(wanted, place)
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place))
        shutil.copy(wanted, stamp)
    return _server_in(place)


def _server_in(place: Path) -> Path:
    """The program itself: what npm puts on the path is a script that starts it under Node.js."""
    for server in place.glob(SERVER):
        return server
    raise Missing(f"npm has no Restate server for {platform.system()} on {platform.machine()}")


def _is_made(stamp: Path, wanted: Path) -> bool:
    return stamp.exists() and stamp.read_bytes() == wanted.read_bytes()


def _run(*command: str) -> None:
    print("peers:", *command, file=sys.stderr, flush=True)
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
        raise StartFailed(f"{' '.join(command)} failed: see its words above")
