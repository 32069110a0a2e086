"""The manifests of k8s/: what is generated is fresh, all of them agree with stack.yml and with each other."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from functions.shared.paths import expression
from tools import deploy
from tools.generate.manifests import knative, public_host
from tools.generate.manifests.folders import K8S, stale
from tools.generate.manifests.listed import image, listed, owners

# What is not applied, or not by an overlay.
APART = {"argocd", "examples", "flux", "kind", "prometheus"}
FILES = sorted(path for path in K8S.rglob("*.yaml") if path.parent.name not in APART)
FOLDERS = sorted({path.parent for path in FILES})
DOCUMENTS = [
    pytest.param(document, id=f"{path.relative_to(K8S)}:{document['kind']}/{document['metadata']['name']}")
    for path in FILES
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]
every_document = pytest.mark.parametrize("document", DOCUMENTS)
every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(K8S)))


@cache
def documents(folder: str, kind: str) -> dict[str, dict]:
    found = {}
    for path in sorted((K8S / folder).glob("[0-9]*.yaml")):
        for each in yaml.safe_load_all(path.read_text("utf-8")):
            if each["kind"] == kind:
                found[each["metadata"]["name"]] = each
    return found


def containers(document):
    """Those of ours: the pooler's is the operator's, a patch has some fields of one."""
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    return [each for each in pod.get("containers", []) if "image" in each]


def test_what_is_generated_is_fresh():
    assert [] == stale(), "run make generate"


@every_folder
def test_a_folder_lists_all_its_files_in_apply_order(folder):
    listing = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    patches = [patch["path"] for patch in listing.get("patches", ()) if "path" in patch]
    files = sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")

    assert files == sorted([*(name for name in listing.get("resources", ()) if "/" not in name), *patches])
    assert sorted(listing.get("resources", ())) == listing.get("resources", [])


@every_document
def test_a_document_is_in_our_namespace(document):
    cluster_wide = {"Namespace": "food", "ClusterDomainClaim": "arch.homework"}
    metadata = document["metadata"]
    if document["kind"] in cluster_wide:
        assert cluster_wide[document["kind"]] == metadata["name"]
    else:
        of_istio = {("ReferenceGrant", "food-to-local-gateway"), ("EnvoyFilter", "public-host-limits")}
        elsewhere = (document["kind"], metadata["name"]) in of_istio
        allowed = {"istio-system"} if elsewhere else {"food"}
        if document["kind"] == "PodMonitor":
            allowed |= {"openfaas-fn"}
        # Istio's usual proxy reads certificates where it runs.
        assert metadata["namespace"] in allowed | ({"istio-system"} if document["kind"] == "Certificate" else set())


@every_document
def test_an_image_has_a_version_and_comes_from_where_stack_yml_says(document):
    usual, _, version = image("jobs").rpartition("/jobs:")
    for container in containers(document):
        assert re.fullmatch(rf"{re.escape(usual)}/[a-z-]+:{re.escape(version)}", container["image"])
    assert "latest" not in str(document)


@every_document
def test_a_container_of_ours_is_locked_in_and_sized(document):
    for container in containers(document):
        locks = container["securityContext"]
        assert locks["readOnlyRootFilesystem"] and not locks["allowPrivilegeEscalation"]
        assert {"drop": ["ALL"]} == locks["capabilities"]
        assert {"requests", "limits"} == set(container["resources"])


@every_document
def test_no_secret_is_in_the_tree(document):
    assert "Secret" != document["kind"]
    for container in containers(document):
        assert not [each for each in container.get("env", ()) if "PASSWORD" in each["name"] and "value" in each]


def test_the_job_that_makes_secrets_may_read_those_that_it_makes_and_no_others():
    rules = documents("base", "Role")["installer"]["rules"]
    (readable,) = (rule["resourceNames"] for rule in rules if rule["verbs"] == ["get"])

    assert {"food-install", *(secret for one in listed() for secret in one.secrets)} == set(readable)


# One service a function


def test_every_function_has_a_service_and_no_other_is_there():
    assert {one.name for one in listed()} | {"public-host"} == set(documents("functions", "Service"))
    assert set(owners()) | {"public-host"} == set(documents("bundles", "Service"))


def test_no_service_has_an_address_outside_of_the_cluster_but_the_public_host_of_the_bundles():
    private = {
        (folder, name)
        for folder in ("functions", "bundles")
        for name, service in documents(folder, "Service").items()
        if "cluster-local" == service["metadata"]["labels"].get("networking.knative.dev/visibility")
    }
    everything = {(folder, name) for folder in ("functions", "bundles") for name in documents(folder, "Service")}

    assert {("bundles", "public-host")} == everything - private


def test_every_public_host_has_the_same_limit_of_rate_whatever_stands_before_it():
    """Istio's proxies have it as a filter; elsewhere the gateway itself is the edge."""
    gateways = [
        documents("functions", "Service")["public-host"]["spec"]["template"]["spec"],
        documents("bundles", "Service")["public-host"]["spec"]["template"]["spec"],
        documents("connector", "Deployment")["public-host"]["spec"]["template"]["spec"],
    ]
    for spec in gateways:
        (limit,) = (
            each["value"] for each in spec["containers"][0]["env"] if each["name"] == "GATEWAY_REQUESTS_PER_SECOND"
        )
        assert knative.REQUESTS_A_SECOND == int(limit) == public_host.BUCKET["tokens_per_fill"]


@pytest.mark.parametrize("folder", ["functions", "bundles"])
def test_the_chain_keeps_one_instance_of_each_step(folder):
    chain = {one.function.owner if folder == "bundles" else one.name for one in knative.steps()}
    for name in chain:
        template = documents(folder, "Service")[name]["spec"]["template"]
        assert "1" == template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"]


@pytest.mark.parametrize("folder", ["functions", "bundles"])
def test_what_a_variable_names_as_a_secret_is_mounted_there(folder):
    for service in documents(folder, "Service").values():
        pod = service["spec"]["template"]["spec"]
        mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        named = {each["value"] for each in pod["containers"][0]["env"] if each["name"].endswith("_FILE")}
        volumes = {volume["name"] for volume in pod["volumes"]}

        assert named == mounted - {"/tmp"}
        assert {Path(path).name for path in named} == volumes - {"tmp"}


# Triggers and schedules


@pytest.mark.parametrize("folder", ["functions", "bundles"])
def test_every_event_has_one_trigger_with_delivery_and_dead_letter_sink(folder):
    triggers = documents(folder, "Trigger")

    assert {one.name: one.function.event_type for one in knative.steps()} == {
        name: trigger["spec"]["filter"]["attributes"]["type"] for name, trigger in triggers.items()
    }
    for trigger in triggers.values():
        delivery = trigger["spec"]["delivery"]
        assert {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"} == set(delivery)
        assert knative.by_relay(trigger["metadata"]["name"]) == trigger["spec"]["subscriber"]
        # The buffer: Knative's dispatchers drop what their sink does not take in time.
        assert {"dead-letters"} == {delivery["deadLetterSink"]["ref"]["name"]} <= set(documents("broker", "Service"))
        assert documents("broker", "Broker").keys() == {trigger["spec"]["broker"]}


@pytest.mark.parametrize("folder", ["functions", "bundles"])
def test_every_scheduled_function_has_its_ping_source(folder):
    sources = documents(folder, "PingSource")

    assert {one.name: knative.cron_line(one.function.schedule) for one in knative.scheduled()} == {
        name: source["spec"]["schedule"] for name, source in sources.items()
    }
    assert all(knative.by_relay(name) == source["spec"]["sink"] for name, source in sources.items())


def test_brokers_and_ping_sources_alone_reach_the_relay_which_adds_the_token():
    (policy,) = (each for name, each in documents("broker", "NetworkPolicy").items() if name == "relay")
    (rule,) = policy["spec"]["ingress"]
    container = documents("broker", "Deployment")["relay"]["spec"]["template"]["spec"]["containers"][0]

    assert {"app.kubernetes.io/name": "relay"} == policy["spec"]["podSelector"]["matchLabels"]
    dispatchers = {"eventing.knative.dev/broker": "food", "eventing.knative.dev/brokerRole": "dispatcher"}
    assert dispatchers == rule["from"][0]["podSelector"]["matchLabels"]
    # Namespaces are those of the ping sources and the scraper: no other pod of ours, no gateway of Knative's.
    assert [set(each) for each in rule["from"]] == [
        {"podSelector"},
        {"namespaceSelector", "podSelector"},
        {"namespaceSelector"},
        {"namespaceSelector"},
    ]
    assert "INSTALLATION_TOKEN_FILE" in {variable["name"] for variable in container["env"]}


def test_the_tries_of_an_event_end_in_time_for_the_redrive_of_its_order():
    # Knative's dispatcher waits twice as long each time, and twice the delay before the first.
    delay = float(knative.DELIVERY["backoffDelay"].removeprefix("PT").removesuffix("S"))
    waits = [delay * 2**number for number in range(1, knative.DELIVERY["retry"] + 1)]

    assert "exponential" == knative.DELIVERY["backoffPolicy"]
    assert 60 < sum(waits) < 120 and max(waits) < 60


def test_dispatchers_alone_reach_the_buffer_of_dead_letters():
    policy = documents("broker", "NetworkPolicy")["dead-letters"]["spec"]
    (rule,) = policy["ingress"]

    dispatchers = {"eventing.knative.dev/broker": "food", "eventing.knative.dev/brokerRole": "dispatcher"}
    assert [dispatchers] == [each["podSelector"]["matchLabels"] for each in rule["from"] if "podSelector" in each]
    assert "knative-eventing" not in str(rule)


@pytest.mark.parametrize(
    ("line", "schedule"),
    [
        ("*/10 * * * * *", "@every 10s"),
        ("* * * * * *", "@every 1s"),
        ("*/5 * * * *", "@every 5m"),
        ("0 * * * *", "@every 1h"),
        ("0 */6 * * *", "@every 6h"),
        ("30 4 * * *", "30 4 * * *"),
    ],
)
def test_a_schedule_is_written_as_a_ping_source_knows_it(line, schedule):
    assert line == knative.cron_line(schedule)


@pytest.mark.parametrize("schedule", ["@every 7s", "@every 0s", "@every 90m"])
def test_a_schedule_that_no_cron_line_can_say_is_refused(schedule):
    with pytest.raises(ValueError, match="divides its unit evenly"):
        knative.cron_line(schedule)


# The public host


def istio_rules():
    return documents("public-host/istio", "VirtualService")["public-host"]["spec"]["http"]


def test_istio_sends_every_public_path_to_its_function_and_the_rest_to_the_gateway():
    *rules, last = istio_rules()
    sent = {
        (match["method"]["exact"], match["uri"].get("exact") or match["uri"]["regex"]): rule["rewrite"]["authority"]
        for rule in rules
        for match in rule["match"]
    }

    assert {
        (one.function.method, expression(path) if "{" in path else path): public_host.inside(one.name)
        for one in listed()
        if one.function.is_public
        for path in one.function.paths
    } == sent
    assert ([{"uri": {"prefix": "/"}}], "public-host.food.svc.cluster.local") == (
        last["match"], last["rewrite"]["authority"]
    )  # fmt: skip


def test_the_gateway_api_sends_as_istio_does():
    routes = documents("public-host/gateway-api", "HTTPRoute").values()
    rules = [rule for route in routes for rule in route["spec"]["rules"] if route["metadata"]["name"] != "to-https"]
    sent = {
        (match.get("method"), match["path"]["value"]): rule["filters"][0]["urlRewrite"]["hostname"]
        for rule in rules
        for match in rule["matches"]
    }

    assert sent == {
        (match.get("method", {}).get("exact"), next(iter(match["uri"].values()))): rule["rewrite"]["authority"]
        for rule in istio_rules()
        for match in rule["match"]
    }


def test_a_route_has_no_more_rules_than_the_gateway_api_takes():
    routes = documents("public-host/gateway-api", "HTTPRoute").values()

    assert all(len(route["spec"]["rules"]) <= 16 for route in routes)


# Deploying


@every_document
def test_a_document_has_its_part_in_the_deployment(document):
    assert [document] == [each for found in deploy.parts([document]).values() for each in found]


def test_a_document_of_another_kind_is_reported():
    with pytest.raises(deploy.DeployFailed, match=r"Pod/x: expected one of the kinds that have a part"):
        deploy.parts([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}])


def test_every_kind_that_kubernetes_lacks_is_brought_by_somebody_named():
    groups = {deploy.group(each.values[0]) for each in DOCUMENTS}
    own = {"", "apps", "batch", "policy", "networking.k8s.io", "rbac.authorization.k8s.io"}

    assert groups - own == set(deploy.BROUGHT_BY)


@pytest.mark.parametrize("one", listed(), ids=lambda one: one.name)
def test_a_function_that_only_the_installation_calls_has_its_token(one):
    knows = "installation-token" in one.secrets and "INSTALLATION_TOKEN_FILE" in one.environment
    assert knows or one.function.caller not in ("broker", "cron", "internal")
