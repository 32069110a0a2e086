"""Only the installation itself may call what is its own: every step, internal method, cron function, the sink."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.shared import installation
from functions.shared.settings import InstallationSettings, Misconfigured, read
from tests.kit import ask
from tests.system import OURS, TOKEN, System
from tests.triggers.test_stack import ROOT
from tools.declared import declared
from tools.private_files import write_private
from triggers.stack import Function, load

OLD, NEW = "o" * 32, "n" * 32
OURS_ALONE = [function for function in load() if not function.is_public]
STRANGERS = {
    "no header": {},
    "another token": {"Authorization": "Bearer " + "x" * 32},
    "a part of it": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "more than it": {"Authorization": f"Bearer {TOKEN}x"},
    "nothing": {"Authorization": "Bearer "},
    "a dot": {"Authorization": "Bearer ."},
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "the switch": {"Authorization": "Bearer off"},
    "letters of elsewhere": {"Authorization": "Bearer ж".encode().decode("latin-1")},
}


def refusal_of(function: Function) -> int:
    """Knative's dispatcher takes a 401 for a delivery: where events come from a broker it is 503."""
    return 503 if function.caller == "broker" else 401


@pytest.mark.parametrize("function", OURS_ALONE, ids=lambda one: one.name)
def test_strangers_are_turned_away_at_every_function_of_the_installation(function: Function, system: System):
    answers = {
        what: system.function(function.name).request(
            function.method or "POST", data="{}", headers={"Authorization": "", **headers}
        )
        for what, headers in STRANGERS.items()
    }

    assert {what: answer.status for what, answer in answers.items()} == dict.fromkeys(STRANGERS, refusal_of(function))


@pytest.mark.parametrize("function", OURS_ALONE, ids=lambda one: one.name)
def test_a_user_is_a_stranger_there(function: Function, system: System, admin_token: str):
    answer = system.function(function.name).request(function.method or "POST", data="{}", token=admin_token)

    assert answer.status == refusal_of(function)


@pytest.mark.parametrize("function", OURS_ALONE, ids=lambda one: one.name)
def test_probes_ask_for_no_token(function: Function, system: System):
    base = system.function(function.name)
    base.headers = {}

    assert base.get("/_/health").status == base.get("/_/ready").status == 200


def test_the_ingress_takes_events_of_the_installation_alone(system: System):
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "homework.arch.nobody", "data": {}}
    posted = {"data": json.dumps(event)}
    form = {"Content-Type": "application/cloudevents+json"}
    answers = [system.broker.post(**posted, headers={"Authorization": "", **form, **it}) for it in STRANGERS.values()]

    assert {answer.status for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert system.broker.post(**posted, headers=form).status == 202
    assert system.broker.get("/health", headers={"Authorization": ""}).status == 200


def test_every_function_says_whether_it_is_the_installations_own():
    internal = {entry.function.name for entry in declared() if entry.handle.internal}

    assert internal == {function.name for function in OURS_ALONE}


def test_the_gateway_does_not_know_the_token(system: System):
    variables = system.process("gateway").environment

    assert not [name for name in variables if "INSTALLATION" in name]


# The token itself


@pytest.fixture
def token_file(tmp_path: Path, settings: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a token that holds the old one; it is read again at once."""
    monkeypatch.delenv("INSTALLATION_TOKEN")
    monkeypatch.setattr(installation, "READ_AGAIN_SECONDS", -1)
    write_private(tmp_path / "installation-token", OLD)
    settings(INSTALLATION_TOKEN_FILE=str(tmp_path / "installation-token"))
    return tmp_path / "installation-token"


def test_while_it_is_changed_whoever_knows_one_of_the_two_is_let_in(token_file: Path):
    before = installation.headers()["Authorization"]
    write_private(token_file, f"{NEW}.{OLD}")
    between = installation.headers()["Authorization"]
    assert [installation.is_ours(sent) for sent in (before, between, f"Bearer {NEW}")] == [True] * 3

    write_private(token_file, NEW)
    assert [installation.is_ours(sent) for sent in (before, between, f"Bearer {NEW}")] == [False, True, True]


@pytest.mark.usefixtures("token_file")
def test_one_who_has_not_seen_the_change_yet_lets_in_who_has():
    assert installation.is_ours(f"Bearer {NEW}.{OLD}")
    assert not installation.is_ours(f"Bearer {NEW}")


@pytest.mark.parametrize("text", ["", "short", None])
def test_a_file_that_cannot_be_read_for_a_moment_changes_nothing(token_file: Path, text: str | None):
    assert installation.is_ours(f"Bearer {OLD}")
    token_file.unlink() if text is None else write_private(token_file, text)

    assert installation.is_ours(f"Bearer {OLD}")


def test_all_values_are_compared_in_constant_time(token_file: Path, monkeypatch: pytest.MonkeyPatch):
    write_private(token_file, f"{NEW}.{OLD}")
    compared = []
    compare = installation.hmac.compare_digest
    monkeypatch.setattr(installation.hmac, "compare_digest", lambda *two: compared.append(two) or compare(*two))

    assert installation.is_ours(f"Bearer {NEW}.x")
    assert len(compared) == 4


def test_off_is_one_word_and_lets_everybody_in(settings: Callable):
    settings(INSTALLATION_TOKEN="off")
    sale = next(entry for entry in declared() if entry.function.name == "pay-sale")

    assert installation.headers() == {}
    assert ask(sale.handle, "{}", Authorization="").status == 500


@pytest.mark.parametrize("value", ["", "Off", "false", "x" * 31, "two words" + "x" * 32, f"{NEW}.{OLD}.{OLD}"])
def test_anything_else_is_refused_and_not_shown(value: str, settings: Callable):
    settings(INSTALLATION_TOKEN=value)

    with pytest.raises(Misconfigured, match=r"^INSTALLATION_TOKEN is ") as refused:
        read(InstallationSettings)
    assert not value or value not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["pay-sale", "billing-internal-add", "ops-dead-letter", "order-flush", "order-submit", "auth-users-edit"]
)
def test_without_the_setting_a_function_refuses_to_start(name: str, function_environment: Callable):
    function = next(one for one in load() if one.name == name)
    environment = function_environment(function.owner) | {
        "FUNCTION_SOURCE": function.source, "FUNCTION_TARGET": function.target, "PORT": "1"
    }  # fmt: skip
    del environment["INSTALLATION_TOKEN_FILE"]
    command = [sys.executable, "-m", "triggers.serve_function"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.startswith("cannot start: INSTALLATION_TOKEN is not set: ")


def test_the_header_is_what_callers_send():
    assert installation.headers() == OURS
