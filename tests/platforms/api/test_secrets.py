"""The Job that makes the Secrets, as its own service account and with no more rights than the manifests give it."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.platforms.api.conftest import Applied
from tests.platforms.api.manifests import overlays
from tools.local.environment import ROOT

INSTALLER = "system:serviceaccount:food:installer"
OTHERS = {"food-db-app", "rabbitmq-default-user", "basic-auth", "public-host-tls"}  # for others to make

pytestmark = pytest.mark.skipif(
    not (ROOT / "tools" / "cluster_secrets.py").exists(), reason="there is no tools/cluster_secrets.py to run"
)


def mounted(part) -> set[str]:
    """The Secrets that pods of these documents cannot start without."""
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    names = {name for each in inner for name in mounted(each)}
    if isinstance(part, dict):
        names |= {part["secretName"]} if "secretName" in part else set()
        names |= {part["secretKeyRef"]["name"]} if "secretKeyRef" in part else set()
    return names


def made(applied: Applied) -> dict[str, dict]:
    secrets = applied.cluster.get("secrets", "--namespace", "food")["items"]
    return {each["metadata"]["name"]: each.get("data", {}) for each in secrets}


@pytest.fixture
def account(applied: Applied, tmp_path: Path) -> Path:
    """The folder that Kubernetes mounts into a pod of the account."""
    token = applied.cluster.kubectl("create", "token", "installer", "--namespace", "food")
    (tmp_path / "token").write_text(token.strip())
    (tmp_path / "namespace").write_text("food")
    shutil.copy(applied.cluster.certificate, tmp_path / "ca.crt")
    return tmp_path


@pytest.fixture
def install(applied: Applied, account: Path) -> Iterator[Callable[[], str]]:
    """Runs the Job's program with the Job's environment; its Secrets go when the test ends."""
    job = next(each for each in applied.documents if each["metadata"]["name"] == "install-secrets")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    environment |= {"KUBERNETES_URL": applied.cluster.url, "SERVICE_ACCOUNT": str(account), "PATH": "/usr/bin:/bin"}

    def run() -> str:
        command = [sys.executable, "-m", "tools.cluster_secrets"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    yield run
    applied.cluster.kubectl("delete", "secrets", "--all", "--namespace", "food")


def test_every_secret_that_a_pod_mounts_is_there_afterwards(applied, install):
    install()

    assert mounted(applied.documents) - OTHERS <= set(made(applied))


@pytest.mark.parametrize("applied", overlays()[:1], ids=lambda folder: folder.name, indirect=True)
def test_a_second_run_keeps_what_the_first_one_made(applied, install):
    install()
    before = made(applied)

    install()

    assert before == made(applied)


@pytest.mark.parametrize("applied", overlays()[:1], ids=lambda folder: folder.name, indirect=True)
def test_what_an_installation_lacks_is_made_and_the_rest_is_kept(applied, install):
    install()
    before = made(applied)
    less = {"data": {"admin-password": None}}
    applied.cluster.kubectl("patch", "secret", "food-install", "--namespace", "food", "--patch", json.dumps(less))

    install()

    after = made(applied)
    assert before["food-install"].keys() == after["food-install"].keys()
    assert before["food-install"]["admin-password"] != after["food-install"].pop("admin-password")
    assert before["food-install"].items() >= after["food-install"].items()


@pytest.mark.parametrize("applied", overlays()[:1], ids=lambda folder: folder.name, indirect=True)
def test_a_functions_secret_has_the_key_that_its_file_is_named_after(applied, install):
    install()

    url = base64.b64decode(made(applied)["billing-database-url"]["billing-database-url"]).decode()
    assert url.startswith("postgresql://billing:")
    assert url.endswith("@food-db-pooler.food:5432/food")


@pytest.mark.parametrize("applied", overlays()[:1], ids=lambda folder: folder.name, indirect=True)
@pytest.mark.parametrize(
    ("allowed", "wish"),
    [
        ("yes", "create secrets"),
        ("yes", "get secrets/billing-database-url"),
        ("yes", "update secrets/food-install"),
        ("no", "get secrets/rabbitmq-default-user"),
        ("no", "update secrets/billing-database-url"),
        ("no", "list secrets"),
        ("no", "watch secrets"),
        ("no", "delete secrets/food-install"),
        ("no", "get pods"),
    ],
)
def test_the_account_may_do_what_the_job_does_and_nothing_else(applied, allowed, wish):
    asked = ("auth", "can-i", *wish.split(), "--namespace", "food", "--as", INSTALLER)

    assert allowed == applied.cluster.kubectl(*asked, fine=(0, 1)).strip()
