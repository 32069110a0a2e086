"""The whole system on this machine: secrets, environments, and a supervisor that starts, mends and ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.install import install, owners
from tools.local.children import Child, answers, stop
from tools.local.environment import ROOT, Environment
from tools.local.installation import Installation
from tools.local.postgres import Postgres
from tools.local.processes import StartFailed, free_port, is_free, start_time, wait_until
from tools.local.rabbitmq import RabbitMQ
from tools.local.settings import LocalSettings

SECRETS = [
    *("jwt-private.pem", "jwt-public.pem", "admin-password", "oauth-client-secret", "installation-token"),
    "roles.json",
]


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


# Secrets


def test_installation_makes_every_secret_and_then_keeps_it(tmp_path: Path):
    directory = tmp_path / "secrets"
    assert install(directory) == SECRETS
    made = contents(directory)
    assert install(directory) == []
    assert contents(directory) == made


def test_secrets_are_for_their_owner_only(tmp_path: Path):
    install(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_two_installations_at_once_agree(tmp_path: Path):
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(install, [tmp_path] * 2))
    assert sorted(made) == [[], SECRETS]


def test_owner_of_a_newer_version_gets_a_password_and_the_others_keep_theirs(tmp_path: Path):
    (tmp_path / "roles.json").write_text('{"billing": "old"}')
    install(tmp_path)
    roles = json.loads((tmp_path / "roles.json").read_text())
    assert roles["billing"] == "old"
    assert list(roles) == ["billing", *(owner for owner in owners() if owner != "billing")]


# Environments


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    install(tmp_path)
    database = "postgresql://admin:secret@127.0.0.1:1/food"
    return Environment(tmp_path, tmp_path / "functions.json", database, "amqp://x:y@h/", "http://127.0.0.1:1")


@pytest.mark.parametrize("owner", owners())
def test_functions_see_their_own_password_and_no_other(environment: Environment, owner: str):
    passwords = json.loads((environment.secrets / "roles.json").read_text())
    text = " ".join(environment.of_functions(owner).values())
    assert [name for name, password in passwords.items() if password in text] == [owner]
    assert "secret@" not in text


def test_only_auth_can_sign(environment: Environment):
    signers = [owner for owner in owners() if "JWT_PRIVATE_KEY_FILE" in environment.of_functions(owner)]
    assert signers == ["auth"]


def test_users_settings_reach_functions_and_the_rest_does_not(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SAGA_TRIES", "3")
    monkeypatch.setenv("AWS_SECRET", "x")
    environment = environment.of_functions("order")
    assert environment["SAGA_TRIES"] == "3"
    assert "AWS_SECRET" not in environment


def test_gateway_gets_no_server_address(environment: Environment):
    assert not {"AMQP_URL", "DATABASE_URL"} & environment.of_trigger("gateway", 8000).keys()


def test_everything_that_is_wrong_with_the_environment_is_reported_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GATEWAY_PORT", "http")
    monkeypatch.setenv("BROKER_PORT", "65001")
    monkeypatch.setenv("AMQP_URL", "http://127.0.0.1")
    with pytest.raises(StartFailed) as problem:
        Installation.from_environment()
    texts = ("GATEWAY_PORT is wrong (Input should be a valid integer", "BROKER_PORT is wrong", "AMQP_URL is wrong")
    assert all(text in str(problem.value) for text in texts)


def test_every_port_has_the_variable_that_its_server_names():
    assert {Postgres.port_variable, RabbitMQ.port_variable} < LocalSettings().ports.keys()


# Supervision


def test_process_that_ends_is_started_again_later_each_time(tmp_path: Path):
    child = Child("short", [sys.executable, "-c", "print('no luck')"], {}, tmp_path / "log")
    child.start()
    words = [_next_word(child) for _ in range(3)]
    assert [word.split(" again in ")[1].split(",")[0] for word in words] == ["0.5 s", "1 s", "2 s"]
    assert words[0].startswith("short ended (exit status 0): no luck; ")


def _next_word(child: Child) -> str:
    words: list[str | None] = []
    assert wait_until(lambda: words.append(child.keep_running()) or words[-1], 10)
    return words[-1] or ""


WORKER = """
import socket, os, signal, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
# The master and one worker; the port belongs to both.
os.fork()
signal.pause()
"""


def test_a_worker_that_outlives_its_master_does_not_keep_the_port(tmp_path: Path):
    port = free_port()
    child = Child("workers", [sys.executable, "-c", WORKER, str(port)], {}, tmp_path / "log")
    child.start()
    assert wait_until(lambda: "listens" in child.log.read_text(), 20)
    os.kill(child.pid, signal.SIGKILL)
    _next_word(child)
    assert wait_until(lambda: child.keep_running() or child.runs, 20)
    assert wait_until(lambda: child.log.read_text().count("listens") == 2, 20), child.log.read_text()
    stop([child])


# Everything


class Run:
    """`python -m tools.local` in a directory and on ports of its own."""

    def __init__(self, directory: Path):
        self.directory = directory
        base = _free_row(15)
        names = ("GATEWAY_PORT", "BROKER_PORT", "LOCAL_POSTGRES_PORT", "LOCAL_RABBITMQ_PORT", "FUNCTIONS_PORT")
        ports = {name: str(base + at) for at, name in enumerate(names)} | {"METRICS_PORT": str(base + 12)}
        unset = {name: "" for name in ("DATABASE_URL", "AMQP_URL")}
        self.environment = os.environ | ports | unset | {"LOCAL_DIR": str(directory)}
        self.said = directory.with_suffix(".out")

    def command(self, *words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "tools.local", *words]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120)

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tools.local", "run"]
        with self.said.open("w") as file:
            started = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )
        ready = wait_until(lambda: "\nReady" in self.said.read_text() or started.poll() is not None, 120)
        assert ready and started.poll() is None, self.said.read_text()
        return started

    @property
    def status(self) -> dict:
        return json.loads((self.directory / "run.json").read_text())


def _free_row(count: int) -> int:
    while True:
        first = free_port()
        if all(is_free(first + at) for at in range(count)):
            return first


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    found = Run(tmp_path_factory.mktemp("stack") / "local")
    yield found
    found.command("reset", "--yes")
    assert not found.directory.exists()


def alive(status: dict) -> list[str]:
    known = status["processes"] | status["servers"]
    return [name for name, (pid, start) in known.items() if start_time(pid) == start]


def parent_of(pid: int) -> int:
    """Whoever has forked it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def environment_of(pid: int) -> list[bytes]:
    """What a program was started with; a fork shows its parent's."""
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_system_starts_mends_itself_survives_a_kill_and_stops_without_a_trace(run: Run):
    killed = run.start()
    status = run.status
    assert {"gateway", "broker", "cron", *owners()} == set(status["processes"])
    assert "already running" in run.command("run").stderr
    assert answers(status["gateway"] + "/health")

    billing = status["processes"]["billing"][0]
    assert b"MALLOC_ARENA_MAX=2" in environment_of(parent_of(billing)), "what has been freed stays with the process"
    os.kill(billing, signal.SIGKILL)
    assert wait_until(lambda: run.status["processes"].get("billing", [billing])[0] != billing, 20)

    left = run.status
    killed.kill()
    killed.wait()
    assert wait_until(lambda: not alive(left) and not (run.directory / "run.json").exists(), 60), alive(left)
    assert "nothing runs" in run.command("stop").stdout

    stopped = run.start()
    status = run.status
    assert run.command("stop").stdout == "stopped\n"
    assert stopped.wait(10) == 0
    assert alive(status) == []
    assert not (run.directory / "run.json").exists()
    assert "nothing runs" in run.command("status").stderr


def test_what_a_killed_run_and_its_killed_watchdog_leave_is_found_and_ended_by_stop(run: Run):
    killed = run.start()
    left = run.status
    for pid in (*watchdogs(killed.pid), killed.pid):
        os.kill(pid, signal.SIGKILL)
    killed.wait()
    count = len(left["processes"]) + 2
    assert len(alive(left)) == count
    ended = f"ended {count} processes of a run that was killed in {run.directory}\n"
    assert run.command("stop").stdout == ended
    assert alive(left) == []
    assert run.command("stop").stdout == f"nothing runs in {run.directory}\n"


def test_a_signal_to_the_whole_process_group_leaves_nothing(run: Run):
    stopped = run.start()
    status = run.status
    # Ends the fork server and the watchdog as well, before anybody could ask them.
    os.killpg(stopped.pid, signal.SIGTERM)
    assert stopped.wait(60) == 0
    assert alive(status) == []


def watchdogs(supervisor: int) -> list[int]:
    """Forked from the fork server of a supervisor, and named by nobody: what is no process of run.json."""
    servers = _children(supervisor)
    return [pid for server in servers for pid in _children(server) if _name(pid) == "watchdog"]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_taken_port_is_reported_before_anything_starts(run: Run):
    port = int(run.environment["GATEWAY_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        refused = run.command("run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"port {port} (gateway) is taken by another program: end that, or set GATEWAY_PORT to a free port\n"
    )
