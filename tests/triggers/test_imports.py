"""What a started trigger has loaded: it speaks HTTP and AMQP, and knows nothing of databases, Flask or tokens."""

import sys
from pathlib import Path

import pytest

from tests.processes import child, end
from tests.system import eventually
from tools.local.processes import free_port

# Runs a trigger as its own command does, and tells at its end what was loaded.
SCRIPT = """
import atexit, runpy, sys
atexit.register(lambda: print("LOADED", *sys.modules, flush=True))
name, sys.argv = sys.argv[1], sys.argv[:1]
runpy.run_module(f"triggers.{name}", run_name="__main__")
"""
NEVER = {"pg8000", "flask", "gunicorn", "werkzeug", "functions_framework", "jwt", "cryptography", "argon2"}
SERVERS = {"gateway", "ingress"}


def loaded_by(name: str, directory: Path) -> set[str]:
    """The modules of a trigger that has started, and has been stopped again."""
    port = free_port()
    environment = {"AMQP_URL": f"amqp://x:y@127.0.0.1:{free_port()}/", "PORT": str(port)}
    health = f"http://127.0.0.1:{port}/_/health" if name == "gateway" else None
    process = child(name, [sys.executable, "-c", SCRIPT, name], directory, health, **environment)
    process.start()
    # Without RabbitMQ an ingress is not healthy, and says that it does not reach it.
    started = "RabbitMQ not reached" if name == "ingress" else f"{name} started"
    eventually(lambda: process.check() and (name == "gateway" or started in process.log.read_text()), "its start")
    assert 0 == end(process)
    (line,) = [line for line in process.log.read_text().splitlines() if line.startswith("LOADED ")]
    return {*line.split()[1:]}


@pytest.mark.parametrize("name", ["dispatcher", "cron", "gateway", "ingress"])
def test_a_trigger_loads_nothing_of_functions_but_their_names(name, tmp_path):
    loaded = loaded_by(name, tmp_path)
    assert set() == loaded & NEVER
    assert set() == loaded & ({"pika"} if name in ("gateway", "cron") else {"cronsim"})
    assert set() == loaded & (set() if name in SERVERS else {"uvicorn"})
