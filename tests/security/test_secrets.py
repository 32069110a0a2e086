"""What the installation keeps to itself is in no log, no event and no list of processes, nor in open files."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from functions.shared.bearer import KeySettings
from functions.shared.settings import DatabaseSettings, InstallationSettings, Misconfigured, read
from tests.clients import API, order_of
from tests.system import System, eventually
from tools.install import install

URL = "postgresql://billing:password@127.0.0.1/food"


def kept(secrets: Path) -> set[str]:
    """Every secret of the installation, as it would be seen."""
    texts = {(secrets / name).read_text().strip() for name in ("admin-password", "oauth-client-secret")}
    lines = (secrets / "jwt-private.pem").read_text().splitlines()[1:-1]
    token = (secrets / "installation-token").read_text()
    return {*texts, *lines, token, *json.loads((secrets / "roles.json").read_text()).values()}


@pytest.fixture(scope="module")
def everything_done(system: System, gateway, new_user, secrets) -> tuple[object, set[str]]:
    """A user that has done what there is, rightly and wrongly; and what nobody may see of it."""
    user = new_user(1000)
    login = {"username": user.username, "password": user.password}
    tokens = gateway.post(f"{API}/auth/token", json=login).json
    gateway.post(f"{API}/auth/token", json=login | {"password": "a-wrong-password"})
    gateway.post(f"{API}/auth/token", json={"refresh_token": tokens["refresh_token"]})
    gateway.post(f"{API}/auth/registration", json=login | {"password": "a-password-too-many", "email": 1})
    gateway.post(f"{API}/auth/token", data='{"password": "half-a-password')
    gateway.post(f"{API}/external/menu", json={}, token=tokens["access_token"] + "x")
    order = gateway.post(f"{API}/external/order", json=order_of(user), token=tokens["access_token"]).json["orderId"]
    ended = 'SELECT ended_at FROM "order".orders WHERE order_id = :id'
    eventually(lambda: system.sql.value(ended, id=order), "the order's end")
    words = {"a-wrong-password", "a-password-too-many", "half-a-password", user.password, "$argon2"}
    signatures = {token.rpartition(".")[2] for token in (tokens["access_token"], tokens["refresh_token"])}
    return user, {*kept(secrets), *words, *signatures}


def test_no_log_has_a_secret(system: System, everything_done):
    _, hidden = everything_done
    logs = {path.name: path.read_text(errors="replace") for path in system.installation.logs.glob("*.log")}

    assert len(logs) > 8
    assert [(name, secret) for name, text in logs.items() for secret in hidden if secret in text] == []


def test_no_row_of_an_event_or_a_dead_letter_has_a_secret(system: System, everything_done):
    user, hidden = everything_done
    kinds = ('"order".orders', '"order".outbox', "ops.dead_letters", "notification.emails", "auth.logins")
    rows = {kind: str(system.sql.rows(f"SELECT to_jsonb(t)::text AS row FROM {kind} t")) for kind in kinds}

    assert user.username in rows['"order".orders']
    assert [(kind, secret) for kind, text in rows.items() for secret in hidden if secret in text] == []


def test_no_process_says_a_secret_in_the_list_of_processes(system: System, everything_done):
    _, hidden = everything_done
    lines = {process.name: _command_line(process.process.pid) for process in system.processes}

    assert all(lines.values())
    assert [(name, secret) for name, line in lines.items() for secret in hidden if secret in line] == []


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_no_process_has_a_secret_of_the_installation_in_its_environment_but_its_own_database(system: System, secrets):
    passwords = json.loads((secrets / "roles.json").read_text())
    for process in system.processes:
        text = " ".join(process.environment.values())
        found = {secret for secret in kept(secrets) if secret in text}
        assert found <= {passwords.get(process.name)}


# Files


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="food-open-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("variable", "model", "text"),
    [("DATABASE_URL", DatabaseSettings, URL), ("INSTALLATION_TOKEN", InstallationSettings, "x" * 32)],
)
def test_a_secret_in_a_file_that_others_can_read_is_refused(open_folder, settings: Callable, variable, model, text):
    file = open_folder / "secret"
    file.write_text(text)
    settings(**{variable: "", f"{variable}_FILE": str(file)})

    file.chmod(0o644)
    with pytest.raises(Misconfigured, match=r"_FILE: expected a file that others cannot read, .*: chmod") as refused:
        read(model)
    assert text not in str(refused.value)
    file.chmod(0o640)
    assert read(model)
    file.chmod(0o644)
    open_folder.chmod(0o750)
    settings()
    assert read(model)


def test_a_public_key_is_for_everybody(open_folder, settings: Callable, secrets):
    file = open_folder / "jwt-public.pem"
    file.write_text((secrets / "jwt-public.pem").read_text())
    file.chmod(0o644)
    settings(JWT_PUBLIC_KEY="", JWT_PUBLIC_KEY_FILE=str(file))

    assert read(KeySettings)


def test_what_an_installation_makes_is_for_its_owner_alone(tmp_path):
    install(tmp_path / "secrets")

    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}
