"""faas-cli and the gateway: what is deployed, shown, called and removed is what the stack file says."""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
import urllib3
import yaml

from schemas import events as models
from tests.clients import ADMIN
from tests.platforms.openfaas.cluster import PASSWORD, USER, OpenFaaS
from tests.platforms.openfaas.provider import FROM_THE_PROVIDER
from tests.system import OURS, Http, eventually
from tools.local.environment import ROOT

EXAMPLE = ROOT / "schemas" / "events" / "pay.sale.example.json"
STRUCTURED = "application/cloudevents+json"


def test_every_deployment_of_the_file_is_listed_and_ready(system: OpenFaaS):
    listed = system.cli("list", "--quiet").split()

    assert sorted(system.profile.deployments) == sorted(listed)
    assert set() == system.late(*listed)


def test_the_gateway_lists_the_annotations_and_labels_of_the_file(system):
    wanted = yaml.safe_load((ROOT / system.profile.file).read_text("utf-8"))["functions"]

    for one in system.listed():
        assert wanted[one["name"]]["annotations"] == one["annotations"]
        assert wanted[one["name"]]["labels"] == one["labels"]
        assert sorted(wanted[one["name"]].get("secrets", [])) == sorted(one.get("secrets") or [])


def test_nobody_sees_the_list_without_the_password(system):
    wrong = urllib3.make_headers(basic_auth=f"{USER}:wrong")

    assert [401, 401] == [system.openfaas.get("/system/functions", headers=h).status for h in ({}, wrong)]


def test_describe_shows_state_and_annotations(system):
    output = system.cli("describe", deployment("order-result", system))

    assert "Ready" in output
    assert "homework.arch.order.result" in output


def test_the_secrets_are_listed_by_name_and_never_shown(system):
    output = system.cli("secret", "list")

    assert {"auth-database-url", "jwt-private-key", "oauth-client-secret"} <= set(output.split())
    assert "BEGIN" not in output and "postgresql://" not in output


def test_a_secret_can_be_changed_and_removed(system):
    system.cli("secret", "create", "for-a-test", "--from-literal", "one")
    system.cli("secret", "update", "for-a-test", "--from-literal", "two")
    assert "two" == system.provider.secrets["for-a-test"]
    system.cli("secret", "remove", "for-a-test")
    assert "for-a-test" not in system.cli("secret", "list")


def test_the_log_of_a_function_can_be_read(system):
    system.function("pay-sale").post(data="no event")

    assert "application/cloudevents+json" in system.cli("logs", deployment("pay-sale", system), "--tail=false")


def deployment(function: str, system: OpenFaaS) -> str:
    return function.partition("-")[0] if system.profile.most else function


def test_the_gateway_names_its_provider(system):
    headers = urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}")

    assert "processes" == system.openfaas.get("/system/info", headers=headers).json["provider"]["provider"]


# -- what a deployment lacks ----------------------------------------------------------------------------------------


@pytest.fixture
def also(system: OpenFaaS) -> Iterator[Callable[..., subprocess.CompletedProcess]]:
    """Deploy something by its image, beside what the file names; it is removed afterwards."""
    names = []

    def deploy(name: str, image: str, *more: str) -> subprocess.CompletedProcess:
        names.append(name)
        return system.cli.run("deploy", "--name", name, "--image", f"registry.example.org/food/{image}:0.1.0", *more)

    yield deploy
    for name in names:
        system.cli.run("remove", name)


def test_a_variable_that_a_deployment_lacks_keeps_it_from_starting(system, also):
    source = ("--env", "FUNCTION_SOURCE=functions/pay/refund.py", "--env", "FUNCTION_TARGET=refund")
    also("lacking", "pay-refund", *source)
    log = system.provider.directory / "lacking.log"
    eventually(lambda: "cannot start: DATABASE_URL is not set" in log.read_text(), "its last word")

    assert {"lacking"} == system.late("lacking")


def test_a_secret_that_is_not_there_is_refused(also):
    done = also("lacking", "pay-sale", "--secret", "nobodys-secret")

    assert (1, True) == (done.returncode, "no such secret: nobodys-secret" in done.stdout)


def test_the_community_edition_takes_as_many_as_it_runs_and_no_more(system, also):
    if not system.profile.most:
        pytest.skip("the Community Edition's limit")
    source = ("--env", "FUNCTION_SOURCE=functions/ops/info.py", "--env", "FUNCTION_TARGET=info")

    spare = system.profile.most - len(system.profile.deployments)

    assert spare > 0
    assert [0] * spare + [1] == [also(f"more-{n}", "ops-info", *source).returncode for n in range(spare + 1)]


# -- calls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_an_event_function_can_be_invoked_with_the_command(system, mode):
    if system.profile.most:
        pytest.skip("faas-cli invokes a deployment, and no function inside it")
    event = json.loads(EXAMPLE.read_text())
    token = f"--header=Authorization={OURS['Authorization']}"
    if mode == "structured":
        arguments = ("invoke", "pay-sale", "--content-type", STRUCTURED, token)
        output = system.cli(*arguments, stdin=json.dumps(event))
    else:
        headers = [f"--header=ce-{name}={event[name]}" for name in ("specversion", "id", "type", "source", "subject")]
        arguments = ("invoke", "pay-sale", "--content-type", "application/json", token, *headers)
        output = system.cli(*arguments, stdin=json.dumps(event["data"]))

    assert event["data"]["orderId"] == json.loads(output)["orderId"]


def test_a_structured_event_is_answered_with_the_next(system):
    answer = system.function("pay-sale").post(data=EXAMPLE.read_bytes(), headers={"Content-Type": STRUCTURED})

    assert (200, models.Withdraw.event_type) == (answer.status, answer.headers["ce-type"])


def test_attributes_go_both_ways_as_headers(system):
    event = json.loads(EXAMPLE.read_text())
    headers = {f"ce-{name}": value for name, value in event.items() if name not in ("data", "datacontenttype")}
    answer = system.function("pay-sale").post(json=event["data"], headers=headers)

    assert 200 == answer.status
    assert "application/json" == answer.headers["Content-Type"]
    assert event["correlationid"] == answer.headers["ce-correlationid"]
    assert event["id"] == answer.headers["ce-causationid"]


def test_a_batch_is_answered_with_a_batch(system):
    kind = "application/cloudevents-batch+json"
    event = json.loads(EXAMPLE.read_text())
    answer = system.function("pay-sale").post(json=[event], headers={"Content-Type": kind})

    assert (200, kind) == (answer.status, answer.headers["Content-Type"].partition(";")[0])
    assert [models.Withdraw.event_type] == [reply["type"] for reply in answer.json]


def test_a_refused_event_says_so_through_the_gateway(system):
    answer = system.function("pay-sale").post(data="{}", headers={"Content-Type": STRUCTURED})

    assert (500, "never") == (answer.status, answer.headers["X-Retry"])


def test_a_function_that_is_not_there_differs_from_one_that_answers(system):
    answer = system.openfaas.post("/function/nobody")

    if system.profile.from_zero:
        assert (404, True) == (answer.status, "error finding function nobody" in answer.text)
    else:
        assert (503, "proxy") == (answer.status, answer.headers[next(iter(FROM_THE_PROVIDER))])


def test_a_public_method_answers_through_both_gateways(system):
    assert "UP" == system.gateway.get("/health").json["status"]


def test_a_function_does_not_get_the_secrets_of_another(system):
    mounted = system.provider.directory / "mounted" / deployment("pay-sale", system)

    assert ["installation-token", "pay-database-url"] == sorted(path.name for path in mounted.iterdir())


# -- all methods of the smaller profile -----------------------------------------------------------------------------


@pytest.fixture
def administration(system: OpenFaaS) -> Http:
    return system.gateway


def test_a_path_with_a_name_in_it_comes_through_as_it_was(administration, admin_token):
    answer = administration.get(f"{ADMIN}/users/username/admin", token=admin_token)

    assert (200, "admin") == (answer.status, answer.json["username"])


def test_roles_can_be_listed_by_an_administrator(administration, admin_token):
    assert 200 == administration.get(f"{ADMIN}/roles", token=admin_token).status
