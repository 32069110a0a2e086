"""What a started trigger has loaded: it speaks HTTP and AMQP, and knows nothing of databases, Flask or tokens.

And a started function: what its first answer wants; the libraries for its work come after that.
"""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from schemas.events import ALL
from tests.processes import child, end
from tests.system import eventually
from tools.local.environment import ROOT
from tools.local.processes import free_port
from triggers import functions
from triggers.functions import Functions
from triggers.stack import Function, load

# Runs a trigger as its own command does, and tells at its end what was loaded.
SCRIPT = """
import atexit, runpy, sys
atexit.register(lambda: print("LOADED", *sys.modules, flush=True))
name, sys.argv = sys.argv[1], sys.argv[:1]
runpy.run_module(f"triggers.{name}", run_name="__main__")
"""
NEVER = {"pg8000", "flask", "gunicorn", "werkzeug", "functions_framework", "jwt", "Cryptodome", "argon2"}
SERVERS = {"gateway", "ingress", "broker"}


def loaded_by(name: str, directory: Path) -> set[str]:
    """The modules of a trigger that has started, and has been stopped again."""
    port = free_port()
    environment = {"AMQP_URL": f"amqp://x:y@127.0.0.1:{free_port()}/", "PORT": str(port)}
    health = f"http://127.0.0.1:{port}/_/health" if name == "gateway" else None
    process = child(name, [sys.executable, "-c", SCRIPT, name], directory, health, **environment)
    process.start()
    # Without RabbitMQ they are not healthy, and say that they do not reach it.
    started = "RabbitMQ not reached" if name in ("ingress", "broker") else f"{name} started"
    eventually(lambda: process.check() and (name == "gateway" or started in process.log.read_text()), "its start")
    assert 0 == end(process)
    (line,) = [line for line in process.log.read_text().splitlines() if line.startswith("LOADED ")]
    return {*line.split()[1:]}


@pytest.mark.parametrize("name", ["dispatcher", "cron", "gateway", "ingress", "broker"])
def test_a_trigger_loads_nothing_of_functions_but_their_names(name, tmp_path):
    loaded = loaded_by(name, tmp_path)
    assert set() == loaded & NEVER
    assert set() == loaded & ({"pika"} if name in ("gateway", "cron") else {"cronsim"})
    assert set() == loaded & (set() if name in SERVERS else {"uvicorn"})


# A function as far as its first answer, and what comes after that.
FUNCTION = """
import importlib.metadata, sys
importlib.metadata.entry_points = None
from triggers import serve_function, server
from functions.shared import later
serve_function.app()
print("PARENT BUILT" if server.ServerSettings.__pydantic_complete__ else "", *sys.modules)
later.finish()
print(*sys.modules)
"""
WORK = {"pg8000", "jwt", "Cryptodome", "cloudevents"}


@pytest.mark.parametrize(
    ("name", "begins_with", "works_with"),
    [
        ("pay-sale", {"cloudevents"}, {"cloudevents"}),
        ("order-new-order", {"cloudevents"}, {"cloudevents", "pg8000"}),
        ("order-submit", {"cloudevents"}, {"cloudevents", "pg8000", "jwt", "Cryptodome"}),
        ("billing-balance-get", set(), {"pg8000", "jwt", "Cryptodome"}),
        ("auth-issue-token", set(), {"pg8000", "jwt", "Cryptodome"}),
        ("auth-registration", set(), {"pg8000"}),
        ("ops-health", set(), {"pg8000"}),
    ],
)
def test_what_only_its_work_needs_is_no_part_of_a_functions_start(name, begins_with, works_with, tmp_path):
    (function,) = [one for one in load() if one.name == name]
    at_first, then = (line.split() for line in modules_of(function, tmp_path))
    assert begins_with == WORK & {*at_first}
    assert works_with == WORK & {*then}
    assert "PARENT" not in at_first


def modules_of(function: Function, directory: Path) -> list[str]:
    """What it has loaded when it could answer, and when it could work, as lines."""
    key = directory / "key"
    key.write_text("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n-----BEGIN PRIVATE KEY-----")
    key.chmod(0o600)
    given = {
        **{"FUNCTION_SOURCE": function.source, "FUNCTION_TARGET": function.target, "INSTALLATION_TOKEN": "off"},
        **{"DATABASE_URL": "postgresql://a@127.0.0.1:1/none", "BROKER_URL": "http://127.0.0.1:1"},
        **{"JWT_PUBLIC_KEY_FILE": str(key), "JWT_PRIVATE_KEY_FILE": str(key)},
    }
    done = subprocess.run(
        [sys.executable, "-c", FUNCTION], cwd=ROOT, env=given, capture_output=True, text=True, timeout=60
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_the_first_answer_is_followed_by_what_is_loaded_later(monkeypatch):
    loaded = threading.Event()
    monkeypatch.setattr(functions, "_load_the_rest", loaded.set)
    sent = []

    async def ask() -> None:
        async def send(message: dict[str, Any]) -> None:
            assert not loaded.is_set()
            sent.append(message)

        await Functions(1)({"type": "http", "method": "GET", "path": "/_/health"}, None, send)

    asyncio.run(ask())
    assert loaded.wait(10)
    assert 200 == sent[0]["status"]


PRELOADED = """
import sys, tools.local.preloaded
from functions.shared.settings import DatabaseSettings
from schemas.events import ALL
unbuilt = [model for model in (DatabaseSettings, *ALL.values()) if not model.__pydantic_complete__]
print(*sys.modules, *(model.__name__ for model in unbuilt))
"""


def test_processes_that_are_forked_share_what_they_would_load_later_and_all_models():
    done = subprocess.run([sys.executable, "-c", PRELOADED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    found = {*done.stdout.split()}
    assert WORK == WORK & found, done.stderr
    assert set() == found & {"DatabaseSettings", *(model.__name__ for model in ALL.values())}
