"""The secrets of a deployment: what stack.yml names, as files for OpenFaaS and as Secrets on Kubernetes."""

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from functions.shared.settings import DatabaseSettings, read
from tests.processes import run
from tools.cluster_secrets import INSTALLATION, Cluster, ClusterSettings, NotMade, make_secrets
from tools.install import DEPLOYED, deployment, install, write_deployment
from tools.local.environment import ROOT

ADDRESS = "postgres.food:5432/food"
SECRETS = "/api/v1/namespaces/food/secrets"


def named_in_stack() -> set[str]:
    functions = yaml.safe_load((ROOT / "stack.yml").read_text())["functions"].values()
    return {name for function in functions for name in function.get("secrets", ())}


# Files


def test_every_secret_of_stack_yml_is_written_and_no_other(tmp_path: Path):
    install(tmp_path)
    folder = write_deployment(tmp_path, ADDRESS)
    assert named_in_stack() == {path.name for path in folder.iterdir()}


def test_an_owners_address_has_its_own_role_and_password(tmp_path: Path):
    install(tmp_path)
    password = json.loads((tmp_path / "roles.json").read_text())["billing"]
    url = deployment(tmp_path, ADDRESS)["billing-database-url"]
    assert f"postgresql://billing:{password}@{ADDRESS}" == url


@pytest.mark.parametrize("layout", ["{name}", "{name}/{name}"], ids=["OpenFaaS", "Knative"])
def test_a_function_reads_the_file_where_its_platform_mounts_it(tmp_path: Path, monkeypatch, layout: str):
    install(tmp_path)
    name, value = "pay-database-url", deployment(tmp_path, ADDRESS)["pay-database-url"]
    mounted = tmp_path / "mounted" / layout.format(name=name)
    mounted.parent.mkdir(parents=True)
    mounted.write_text(value + "\n")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "mounted" / name))
    read.cache_clear()
    assert value == read(DatabaseSettings).database_url
    read.cache_clear()


def test_the_files_are_for_their_owner_only(tmp_path: Path):
    install(tmp_path)
    folder = write_deployment(tmp_path, ADDRESS)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert 0o700 == folder.stat().st_mode & 0o777


def test_the_command_writes_them_again_without_changing_them(tmp_path: Path):
    def written() -> dict[str, str]:
        done = run("tools.install", str(tmp_path / "kept"), "--database", ADDRESS)
        assert (0, "") == (done.returncode, done.stderr)
        return {path.name: path.read_text() for path in (tmp_path / "kept" / "deployment").iterdir()}

    assert written() == written()


# A namespace


class Namespace(BaseHTTPRequestHandler):
    """The three calls on Secrets that the job makes, answered as an API server does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = self.server.secrets.get(self.path.rpartition("/")[2])
        self._answer(200, found) if found else self._answer(404)

    def do_POST(self) -> None:
        secret = self._body()
        with self.server.lock:
            if secret["metadata"]["name"] in self.server.secrets:
                return self._answer(409)
            self._keep(secret, "1")
        return self._answer(201, secret)

    def do_PUT(self) -> None:
        secret = self._body()
        with self.server.lock:
            version = self.server.secrets[secret["metadata"]["name"]]["metadata"]["resourceVersion"]
            if secret["metadata"]["resourceVersion"] != version:
                return self._answer(409)
            self._keep(secret, str(int(version) + 1))
        return self._answer(200, secret)

    def _keep(self, secret: dict, version: str) -> None:
        secret["metadata"]["resourceVersion"] = version
        self.server.secrets[secret["metadata"]["name"]] = secret

    def _body(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: dict | None = None) -> None:
        if not self.path.startswith(SECRETS) or self.headers["Authorization"] != "Bearer its-token":
            status, body = 403, {"kind": "Status", "message": "secrets is forbidden"}
        text = json.dumps(body or {"kind": "Status", "code": status}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def served() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Namespace)
    server.secrets, server.lock = {}, threading.Lock()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api() -> Iterator[ThreadingHTTPServer]:
    with served() as server:
        yield server


@pytest.fixture
def settings(api: ThreadingHTTPServer, tmp_path: Path) -> ClusterSettings:
    (tmp_path / "token").write_text("its-token\n")
    (tmp_path / "namespace").write_text("food")
    url = f"http://127.0.0.1:{api.server_port}"
    return ClusterSettings(database_address=ADDRESS, kubernetes_url=url, service_account=tmp_path)


def value(api: ThreadingHTTPServer, name: str, key: str | None = None) -> str:
    return base64.b64decode(api.secrets[name]["data"][key or name]).decode()


def made(settings: ClusterSettings, **changes: object) -> list[str]:
    changed = settings.model_copy(update=changes)
    return make_secrets(Cluster(changed), changed)


def test_an_empty_namespace_gets_every_secret_of_stack_yml_and_the_installation(api, settings):
    lines = made(settings)
    assert named_in_stack() | {INSTALLATION} == set(api.secrets)
    assert all(": made" in line for line in lines)


def test_each_secret_has_one_key_of_its_own_name(api, settings):
    made(settings)
    assert all([name] == list(api.secrets[name]["data"]) for name in named_in_stack())


def test_a_second_run_keeps_everything(api, settings):
    made(settings)
    before = json.dumps(api.secrets)
    assert {"kept"} == {line.partition(": ")[2] for line in made(settings)}
    assert before == json.dumps(api.secrets)


def test_secrets_of_a_deployment_are_those_of_its_installation(api, settings):
    made(settings)
    for name, file in DEPLOYED.items():
        assert value(api, INSTALLATION, file) == value(api, name)
    password = json.loads(value(api, INSTALLATION, "roles.json"))["order"]
    assert f"postgresql://order:{password}@{ADDRESS}" == value(api, "order-database-url")


def at_once(settings: ClusterSettings) -> list[list[str]]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: made(settings), range(4)))


def test_four_at_once_agree_on_one_installation(settings):
    runs = at_once(settings)
    assert 1 == sum(line.startswith(f"{INSTALLATION}: made") for lines in runs for line in lines)
    assert {"kept"} == {line.partition(": ")[2] for line in made(settings)}


def test_an_owner_of_a_newer_version_gets_a_password_and_the_others_keep_theirs(api, settings):
    made(settings)
    roles = json.loads(value(api, INSTALLATION, "roles.json"))
    older = {name: password for name, password in roles.items() if name != "ops"}
    api.secrets[INSTALLATION]["data"]["roles.json"] = base64.b64encode(json.dumps(older).encode()).decode()
    del api.secrets["ops-database-url"]

    runs = at_once(settings)

    assert 1 == sum(f"{INSTALLATION}: made roles.json" in lines for lines in runs)
    assert 1 == sum("ops-database-url: made" in lines for lines in runs)
    assert older.items() <= json.loads(value(api, INSTALLATION, "roles.json")).items()


def test_a_secret_with_another_value_is_kept_and_reported(api, settings):
    made(settings)
    lines = made(settings, database_address="elsewhere:5432/food")
    assert "pay-database-url: kept, though it holds something else: delete it to have it made anew" in lines
    assert ADDRESS in value(api, "pay-database-url")


def test_the_address_of_rabbitmq_comes_from_its_operator(api, settings):
    url = "amqp://user:password@rabbitmq.food:5672/"
    data = {"connection_string": base64.b64encode(url.encode()).decode()}
    api.secrets["rabbitmq-default-user"] = {"metadata": {}, "data": data}
    assert "amqp-url: made" == made(settings, amqp_secret="rabbitmq-default-user")[-1]
    assert url == value(api, "amqp-url")


def test_the_job_says_what_it_waits_for(settings):
    with pytest.raises(NotMade, match=r"rabbitmq-default-user is not there \(yet\)"):
        made(settings, amqp_secret="rabbitmq-default-user")


def test_the_job_says_that_its_account_is_not_allowed(settings):
    (settings.service_account / "namespace").write_text("elsewhere")
    with pytest.raises(NotMade, match=r"get secret food-install: secrets is forbidden; is the service account"):
        made(settings)


def test_the_job_runs_from_its_environment(api, settings):
    environment = {"DATABASE_ADDRESS": ADDRESS, "KUBERNETES_URL": settings.kubernetes_url}
    done = run("tools.cluster_secrets", SERVICE_ACCOUNT=settings.service_account, **environment)
    assert (0, "") == (done.returncode, done.stderr)
    assert named_in_stack() <= set(api.secrets)


def test_the_job_ends_with_one_line_outside_a_cluster(tmp_path: Path):
    done = run("tools.cluster_secrets", DATABASE_ADDRESS=ADDRESS, SERVICE_ACCOUNT=tmp_path / "none")
    assert 1 == done.returncode
    assert ["namespace: expected a file of the service account, got: No such file or directory"] == [
        line.rpartition("/")[2] for line in done.stderr.splitlines()
    ]
