"""The images as a platform starts them: not root, nothing to write to, told their port, and ended by SIGTERM."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from urllib3.exceptions import HTTPError

from tests.platforms.images.containers import REGISTRY, Container, Failed, Image
from tests.system import OURS, Http, Rows, eventually
from tools.image.assemble import assemble, contents, names
from tools.image.build import DOCKERFILE, ImageSettings, tag
from tools.local.children import answers
from tools.local.environment import ROOT
from tools.migrate import create_database
from triggers.stack import load

STRUCTURED = {"Content-Type": "application/cloudevents+json", **OURS}
MEBIBYTE = 1024 * 1024
# What the event loop has for itself: names are looked up by threads.
OF_THE_LOOP = 4
STACK = yaml.safe_load((ROOT / "stack.yml").read_text())["functions"]


def variables_of(name: str) -> dict[str, str]:
    """The variables that a function gets from stack.yml; those that the platform fills in apart."""
    return {variable: value for variable, value in STACK[name]["environment"].items() if "${" not in value}


def http(container: Container, health: str = "/_/health") -> Http:
    """The container's server, once it answers."""
    server = f"http://127.0.0.1:{container.port}"
    eventually(lambda: not container.runs or answers(server + health), f"{container.name} answers")
    assert container.runs, container.log.read_text()
    return Http(server)


# What they hold


def test_an_image_is_small_and_most_of_it_is_shared(images, capsys):
    for name, image in images.items():
        total, libraries, code = (image.size(folder) for folder in ("", "opt/venv", "app"))
        variables = f"base {(total - libraries - code) / MEBIBYTE:.0f}, libraries {libraries / MEBIBYTE:.0f} MiB"
        with capsys.disabled():
            print(f"\n{name}: {variables}, code {code / 1024:.0f} KiB", end="")
        assert 80 * MEBIBYTE > libraries
        assert 1 * MEBIBYTE > code


def test_a_functions_image_holds_its_own_code_and_no_neighbours(images):
    found = images["billing-withdraw"].files("app")
    assert {f"functions/billing/{name}.py" for name in ("withdraw", "locks", "__init__")} == {
        name for name in found if not name.startswith(("functions/shared/", "schemas/")) and name.count("/") == 2
    }
    assert {"functions", "schemas", "start", "triggers"} == {name.partition("/")[0] for name in found}
    assert not [name for name in found if Path(name).stem in ("dispatcher", "stack", "amqp", "host")]


def test_an_owners_image_holds_its_functions_and_no_other_owners(images):
    found = {name for name in images["billing"].files("app") if name.startswith("functions/")}
    assert {"__init__.py", "billing", "shared"} == {name.split("/")[1] for name in found}


def test_no_image_holds_what_it_does_not_need(images):
    for image in images.values():
        kept = {"tests", ".git", ".local", "Dockerfile", "pyproject.toml", "README.md"}
        assert not kept & {path.name for path in (image.root / "app").iterdir()}
        assert not any((image.root / path).exists() for path in ("src", "opt/pip", "root/.cache"))
        libraries = {path.name for path in (image.root / "opt/venv/lib").glob("python*/site-packages/*")}
        assert not {"pip", "pytest", "ruff", "coverage"} & libraries
        assert "functions_framework" in libraries


def test_the_libraries_are_those_of_the_constraints(images):
    text = (ROOT / "tools" / "image" / "requirements.txt").read_text()
    pinned = {pin.lower() for pin in re.findall(r"^([\w.-]+==[^\s;]+)", text, re.MULTILINE)}
    metadata = (images["billing"].root / "opt/venv/lib").glob("python*/site-packages/*.dist-info")
    found = {path.name.removesuffix(".dist-info").replace("-", "==").replace("_", "-").lower() for path in metadata}
    assert set() == found - pinned


def test_everything_is_compiled_before_it_starts(images):
    for image in images.values():
        code = [path for path in (image.root / "app").rglob("*.py")]
        assert all(list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")) for path in code)


def test_an_image_is_labelled_with_its_name_its_version_and_its_user(images):
    for name, image in images.items():
        labels = image.config["Labels"]
        assert name == labels["org.opencontainers.image.title"]
        assert "0.1.0" == labels["org.opencontainers.image.version"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.config["User"])
        assert "SIGTERM" == image.config["StopSignal"]
        assert ["8080/tcp"] == list(image.config["ExposedPorts"])


def test_an_image_is_called_as_stack_yml_calls_it():
    images = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", entry["image"]) for name, entry in STACK.items()}
    named = ImageSettings()
    assert images == {name: tag(name, named.registry, named.version) for name in STACK}


def test_the_base_is_pinned_by_version():
    dockerfile = (ROOT / "tools" / "image" / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}$", dockerfile, re.M)
    assert {"${BASE}", "libraries"} == set(re.findall(r"^FROM (\S+)", dockerfile, re.M))


def test_an_unknown_name_fails_the_build_and_lists_what_there_is(store):
    with pytest.raises(Failed, match=r"NAME: expected one of auth-check-token.*triggers, jobs; got gift"):
        store.buildah("build", f"--file={ROOT / DOCKERFILE}", "--build-arg=NAME=gift", *store.options, str(ROOT))


def test_the_command_that_builds_knows_that_before_it_begins(store):
    done = store.build("billing", "billing-gift")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("NAME: expected one of auth-check-token")


# Every other image: the same Dockerfile, so that its code has to be there


# The libraries are loaded once; then each image's modules in a process of their own, and nothing else of ours.
LOAD = """
import importlib, json, os, sys
work = json.load(sys.stdin)
sys.path.append(work["libraries"])
for name in "argon2 cloudevents.http functions_framework jwt pg8000.native pika pydantic yaml".split():
    importlib.import_module(name)
for folder, modules in work["images"].items():
    if os.fork() == 0:
        sys.path.append(folder)
        try:
            [importlib.import_module(module) for module in modules]
        except BaseException as problem:
            print(os.path.basename(folder), repr(problem), flush=True)
        os._exit(0)
    os.wait()
"""


def test_every_image_holds_all_that_it_loads(tmp_path: Path):
    for name in names():
        assemble(name, tmp_path / name)
    libraries = next((ROOT / ".venv" / "lib").glob("python*/site-packages"))
    images = {str(tmp_path / name): contents(name).modules for name in names()}
    work = json.dumps({"libraries": str(libraries), "images": images})
    done = subprocess.run([sys.executable, "-I", "-S", "-c", LOAD], input=work, capture_output=True, text=True)
    assert ("", "") == (done.stdout, done.stderr)


# Functions


def test_a_function_answers_its_event_on_the_port_of_its_setting(images, mounted, start, example):
    container = start(images["billing-withdraw"], mounted, **variables_of("billing-withdraw"))
    reply = http(container).post(data=json.dumps(example("billing.withdraw")), headers=STRUCTURED)
    assert (200, "homework.arch.pay.confirmSale") == (reply.status, reply.headers["ce-type"])
    assert "ClientNotFound" == reply.json["payStatus"]


def test_a_function_knows_its_own_source_where_the_platform_does_not_say(images, mounted, start):
    source = {"FUNCTION_SOURCE", "FUNCTION_TARGET"}
    rest = {name: value for name, value in variables_of("billing-withdraw").items() if name not in source}
    assert 200 == http(start(images["billing-withdraw"], mounted, **rest)).get("/_/ready").status


def test_a_function_without_its_secret_says_so_and_ends(images, mounted):
    done = images["billing-withdraw"].run(mounted, DATABASE_URL_FILE="/var/openfaas/secrets/none")
    assert done.returncode != 0
    assert "cannot start: DATABASE_URL_FILE: expected a readable file" in done.stderr


def test_nothing_can_be_written_but_memory(images, mounted):
    script = "for at in /app /opt/venv /etc / /tmp /dev/shm; do touch $at/x 2>/dev/null && echo $at; done; id -u"
    done = shell(images["billing-withdraw"], mounted, script)
    assert ["/dev/shm", "65532"] == done.stdout.split()


def test_no_capability_is_left(images, mounted):
    done = shell(images["billing-withdraw"], mounted, "grep Cap /proc/self/status")
    assert {"0000000000000000"} == {line.split()[1] for line in done.stdout.splitlines()}


def shell(image: Image, secrets: Path, script: str) -> subprocess.CompletedProcess:
    return Image(image.root, image.config | {"Entrypoint": ["/bin/sh"]}).run(secrets, "-c", script)


def test_a_function_has_nothing_to_say_against_a_root_that_is_read_only(images, mounted, start):
    container = start(images["billing-withdraw"], mounted, **variables_of("billing-withdraw"))
    assert 200 == http(container).get("/_/health").status
    assert "" == container.log.read_text()


def test_several_workers_keep_their_metrics_in_memory(images, mounted, start):
    container = start(images["billing-withdraw"], mounted, WORKERS="2", **variables_of("billing-withdraw"))
    assert "function_events_total" in http(container).get("/_/metrics").text
    [folder] = Path(f"/proc/{container.first}/root/dev/shm").glob("metrics-*")
    assert {int(path.stem.rpartition("_")[2]) for path in folder.glob("counter_*.db")}


def test_the_server_is_process_1_and_has_as_many_threads_as_its_setting(images, mounted, start):
    container = start(images["billing-withdraw"], mounted, THREADS="3", **variables_of("billing-withdraw"))
    server = http(container)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: server.get("/_/ready"), range(30)))
    assert "triggers.serve_function" in Path(f"/proc/{container.first}/cmdline").read_text()
    assert 1 + 3 + OF_THE_LOOP >= len(list(Path(f"/proc/{container.first}/task").iterdir()))


def workers_of(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_sigterm_ends_a_function_in_order(images, mounted, start):
    container = start(images["billing-withdraw"], mounted, **variables_of("billing-withdraw"))
    http(container)
    assert 0 == container.terminate(10)


def test_a_worker_that_dies_is_reaped_and_replaced(images, mounted, start):
    container = start(images["billing-withdraw"], mounted, WORKERS="2", **variables_of("billing-withdraw"))
    server = http(container)
    first, second = eventually(lambda: two_workers_of(container.first), "two workers")
    subprocess.run(["kill", "-KILL", str(first)], check=True)
    eventually(lambda: first not in (two_workers_of(container.first) or [first]), "a new worker is there")
    assert not Path(f"/proc/{first}").exists() and Path(f"/proc/{second}").exists()
    assert eventually(lambda: answers(server.base + "/_/health"), "the workers answer")


def two_workers_of(process: int) -> list[int] | None:
    found = workers_of(process)
    return found if len(found) == 2 else None


# Bundles, triggers, jobs


def test_an_owners_image_answers_for_each_of_its_functions(images, mounted_by_knative, start, example):
    container = start(images["billing"], mounted_by_knative, **variables_of("billing-balance-get"))
    server = http(container)
    event = json.dumps(example("billing.withdraw"))
    reply = server.post("/function/billing-withdraw", data=event, headers=STRUCTURED)
    assert "ClientNotFound" == reply.json["payStatus"]
    for function in load():
        expected = 200 if function.owner == "billing" else 404
        assert expected == server.get(f"/function/{function.name}/_/health").status
    assert 0 == container.terminate(15)


def test_the_gateway_of_one_image_reaches_the_functions_of_another(images, mounted, start):
    owner = start(images["billing"], mounted, **variables_of("billing-balance-get"))
    url = f"{http(owner).base}/function/{{name}}"
    gateway = start(images["triggers"], mounted, "gateway", FUNCTION_URL=url)
    server = Http(f"http://127.0.0.1:{gateway.port}")
    [path] = next(function.paths for function in load() if function.name == "billing-balance-get")
    assert 401 == eventually(lambda: status(server, path), "the gateway listens")
    assert 404 == status(server, "/billing-service/api/v1/internal/clients")
    assert 0 == gateway.terminate(15)


def status(server: Http, path: str) -> int | None:
    """The status of a POST; None while nobody listens."""
    with suppress(HTTPError):
        return server.post(path, json={}).status
    return None


@pytest.mark.parametrize("trigger", ["ingress", "dispatcher", "cron"])
def test_every_trigger_starts_from_their_image_and_lists_its_environment(images, mounted, trigger):
    done = images["triggers"].run(mounted, trigger, "--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert "Environment:" in done.stdout


def test_the_image_of_the_triggers_says_what_it_can_start(images, mounted):
    done = images["triggers"].run(mounted)
    names = "broker|buffer|connector|cron|dispatcher|gateway|ingress|relay"
    assert f"expected one of {names}; got nothing\n" == done.stderr


def test_the_jobs_migrate_an_empty_database_and_audit_it(images, installation, postgres):
    url = postgres.url("from_an_image")
    create_database(url)
    variables = {"ADMIN_DATABASE_URL": url, "SECRETS_DIR": "/var/openfaas/secrets"}
    done = images["jobs"].run(installation, "migrate", **variables)
    assert (0, "") == (done.returncode, done.stderr)
    assert "auth: user admin" in done.stdout.splitlines()
    assert "nothing to do\n" == images["jobs"].run(installation, "migrate", **variables).stdout
    assert 0 == images["jobs"].run(installation, "audit", **variables).returncode
    assert Rows(url).value("SELECT count(*) FROM store.dishes")


def test_the_jobs_make_the_files_of_an_installation(images, installation):
    done = images["jobs"].run(installation, "install", "/dev/shm/made", "--database", "postgres:5432/food")
    assert (0, "") == (done.returncode, done.stderr)
    assert "/dev/shm/made/deployment: a file for each secret of stack.yml" in done.stdout


def test_the_jobs_say_what_they_read(images, installation):
    done = images["jobs"].run(installation, "cluster_secrets", "--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert "DATABASE_ADDRESS " in done.stdout


# faas-cli


def test_faas_cli_prepares_a_folder_for_every_function_in_which_the_dockerfile_finds_its_files(contexts):
    assert {function.name for function in load()} == {path.name for path in contexts.iterdir()}
    copies = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "tools" / "image" / "Dockerfile").read_text(), re.M)
    assert "stack.yml" in copies
    for folder in contexts.iterdir():
        assert (folder / "Dockerfile").is_file()
        assert [] == [name for name in copies if not (folder / name).exists()]


def test_the_same_image_comes_out_of_the_folder_that_faas_cli_prepares(store, images, contexts):
    context, image = contexts / "billing-withdraw", f"{REGISTRY}/from-faas-cli"
    store.buildah("build", "--build-arg=NAME=billing-withdraw", f"--tag={image}", *store.options, str(context))
    with store.opened(image) as built:
        assert images["billing-withdraw"].files("app") == built.files("app")
        same = ["diff", "--recursive", str(built.root / "app"), str(images["billing-withdraw"].root / "app")]
        assert "" == subprocess.run(same, capture_output=True, text=True).stdout
