"""What every overlay has to hold as a whole, asked of its documents as kustomize builds them."""

import configparser
import re

import pytest

from tools.generate import stack_ce
from tools.generate.manifests import overlays, public_host, sizes
from tools.generate.manifests.listed import VARIABLE, listed
from tools.generate.manifests.overlays import built, containers
from tools.generate.manifests.sizes import connections, of_kind, quantity, role_limit, scale
from triggers.gateway import LARGEST_BODY

every_overlay = pytest.mark.parametrize("overlay", overlays.names())
ON_KNATIVE = ("gateway-api", "production", "small")
HIGHLY_AVAILABLE = ("gateway-api", "production")


def named(overlay: str, kind: str, name: str) -> dict:
    return next(each for each in of_kind(overlay, kind) if each["metadata"]["name"] == name)


def policies(overlay: str) -> dict[str, dict]:
    return {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "NetworkPolicy")}


def rabbitmq(overlay: str) -> dict:
    (cluster,) = of_kind(overlay, "RabbitmqCluster")
    return cluster["spec"]


def settings_of_rabbitmq(overlay: str) -> dict[str, str]:
    parser = configparser.ConfigParser(delimiters="=", comment_prefixes="#")
    parser.read_string("[all]\n" + rabbitmq(overlay)["rabbitmq"]["additionalConfig"])
    return dict(parser["all"])


def postgres(overlay: str) -> dict:
    (cluster,) = of_kind(overlay, "Cluster")
    return cluster["spec"]


# -- RabbitMQ --------------------------------------------------------------------------------------------------


@every_overlay
def test_the_disk_limit_of_rabbitmq_leaves_most_of_its_volume_for_queues(overlay):
    limit = quantity(settings_of_rabbitmq(overlay)["disk_free_limit.absolute"].removesuffix("B"))

    assert limit <= quantity(rabbitmq(overlay)["persistence"]["storage"]) / 5


@every_overlay
def test_three_logs_of_quorum_queues_fit_below_the_high_watermark_of_rabbitmqs_memory(overlay):
    memory = quantity(rabbitmq(overlay)["resources"]["limits"]["memory"])
    log = int(settings_of_rabbitmq(overlay)["raft.wal_max_size_bytes"])

    # The operator tells RabbitMQ of four fifths of its limit, and the watermark is at six tenths of that.
    assert 3 * log <= 0.6 * 0.8 * memory


@every_overlay
def test_rabbitmqs_limit_of_memory_is_what_it_asks_for(overlay):
    resources = rabbitmq(overlay)["resources"]

    assert resources["requests"]["memory"] == resources["limits"]["memory"]


# -- PostgreSQL ------------------------------------------------------------------------------------------------


@every_overlay
def test_functions_and_pooler_and_postgresql_have_connections_enough(overlay):
    found = connections(overlay)

    assert found.wanted
    assert found.fits, found
    assert found.of_a_role == role_limit(overlay)


@pytest.mark.parametrize(("wanted", "opened"), [(3001, 360), (3000, 371)])
def test_connections_that_do_not_fit_are_seen(wanted, opened):
    assert not sizes.Connections(wanted, 3000, 45, opened, 400).fits
    assert sizes.Connections(3000, 3000, 45, 370, 400).fits


@every_overlay
def test_the_pooler_lends_connections_by_transactions_and_knows_prepared_statements(overlay):
    (pooler,) = of_kind(overlay, "Pooler")

    assert "transaction" == pooler["spec"]["pgbouncer"]["poolMode"]
    assert int(pooler["spec"]["pgbouncer"]["parameters"]["max_prepared_statements"]) >= 100


@every_overlay
def test_functions_reach_the_database_by_the_pooler_and_the_migration_reaches_it_itself(overlay):
    (install,) = containers(named(overlay, "Job", "install-secrets"))
    (migrate,) = containers(named(overlay, "Job", "migrate"))

    assert "food-db-pooler.food:5432/food" == next(
        each["value"] for each in install["env"] if each["name"] == "DATABASE_ADDRESS"
    )
    assert "food-db-app" in str(migrate["env"])


@every_overlay
def test_postgresql_has_a_pinned_major_and_a_quarter_of_its_memory_for_its_buffers(overlay):
    spec = postgres(overlay)
    buffers = quantity(spec["postgresql"]["parameters"]["shared_buffers"].removesuffix("B") + "i")
    limit = quantity(spec["resources"]["limits"]["memory"])

    assert re.search(r":18\.\d+-[\w-]+@sha256:[0-9a-f]{64}$", spec["imageName"])
    assert 1 / 8 <= buffers / limit <= 1 / 3


@every_overlay
def test_a_server_of_one_instance_can_be_drained_and_one_of_three_keeps_two(overlay):
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "PodDisruptionBudget")}

    assert (postgres(overlay)["instances"] > 1) == postgres(overlay)["enablePDB"]
    assert ({"rabbitmq"} if rabbitmq(overlay)["replicas"] > 1 else set()) == set(budgets)


# -- functions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", HIGHLY_AVAILABLE)
def test_there_are_two_of_every_function_that_an_order_needs(overlay):
    steps = {one.name for one in listed() if one.function.event_type}
    needed = steps | {"order-submit", "auth-revocations", "public-host"}

    several = [each for each in sizes.functions(overlay) if scale(each, "min-scale", 0) > 1]
    assert needed == {each["metadata"]["name"] for each in several}


@pytest.mark.parametrize("overlay", ON_KNATIVE)
def test_a_probe_may_wait_for_a_share_of_a_busy_processor(overlay):
    for service in sizes.functions(overlay):
        (container,) = containers(service)
        live, ready = container["livenessProbe"], container["readinessProbe"]
        assert live["timeoutSeconds"] >= 5 <= ready["timeoutSeconds"]
        assert live["periodSeconds"] * live["failureThreshold"] >= 120


@every_overlay
def test_every_pod_of_ours_may_pull_from_a_registry_with_a_password(overlay):
    accounts = {each["metadata"]["name"]: each for each in of_kind(overlay, "ServiceAccount")}
    pods = [each["spec"]["template"]["spec"] for each in built(overlay)
            if any("image" in one for one in containers(each))]  # fmt: skip

    assert pods
    for pod in pods:
        assert [{"name": "registry"}] == accounts[pod["serviceAccountName"]]["imagePullSecrets"]
        assert pod["automountServiceAccountToken"] == (pod["serviceAccountName"] == "installer")


@pytest.mark.parametrize("overlay", ON_KNATIVE)
def test_every_dispatcher_says_what_it_needs(overlay):
    for document in [*of_kind(overlay, "Trigger"), *of_kind(overlay, "Broker")]:
        words = document["metadata"]["annotations"]
        for name in ("cpu", "memory"):
            asked, most = (words[f"rabbitmq.eventing.knative.dev/{name}-{which}"] for which in ("request", "limit"))
            assert 0 < quantity(asked) <= quantity(most)
        assert 2**20 * 47 <= quantity(words["rabbitmq.eventing.knative.dev/memory-request"])


def test_only_functions_that_may_sleep_begin_asleep_where_that_is_wished():
    found = overlays.with_component("production", "asleep")
    asleep = {each["metadata"]["name"] for each in found if "initial-scale" in str(each)}

    assert {one.name for one in listed() if not one.least} == asleep


# -- OpenFaaS --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overlay", "stack"), [("openfaas", "stack.yml"), ("openfaas-ce", "stack-ce.yml")])
def test_the_public_host_finds_functions_where_the_stack_file_has_them(overlay, stack):
    (host,), (cron,) = (containers(named(overlay, "Deployment", name)) for name in ("public-host", "cron"))
    url, of_cron = (
        next(each["value"] for each in one["env"] if each["name"] == "FUNCTION_URL") for one in (host, cron)
    )
    entries = sizes.stack(stack)

    assert {url} == {
        each["environment"]["FUNCTION_URL"] for each in entries.values() if "FUNCTION_URL" in each["environment"]
    }
    assert ("{owner}" in url) == ("pay" in entries)
    assert url == of_cron


def test_the_overlay_of_the_community_edition_differs_in_that_alone():
    both = zip(built("openfaas"), built("openfaas-ce"), strict=True)
    differ = [one["metadata"]["name"] for one, other in both if one != other]

    assert ["cron", "public-host"] == sorted(differ)
    assert VARIABLE.sub(r"\1", stack_ce.INSIDE) in str(named("openfaas-ce", "Deployment", "public-host"))


# -- network policies ------------------------------------------------------------------------------------------


@every_overlay
def test_names_may_be_asked_of_anybody(overlay):
    egress = policies(overlay)["functions"]["egress"]
    to_anybody = [rule for rule in egress if "to" not in rule]

    assert [{(port["protocol"], port["port"]) for port in rule["ports"]} for rule in to_anybody] == [
        {("UDP", 53), ("TCP", 53), ("UDP", 5353), ("TCP", 5353)}
    ]


@pytest.mark.parametrize("overlay", ON_KNATIVE)
def test_every_network_layer_that_is_named_gets_in_and_one_that_is_labelled_too(overlay):
    callers = policies(overlay)["functions"]["ingress"][0]["from"]
    (named_ones,) = (each["namespaceSelector"]["matchExpressions"][0]["values"] for each in callers
                     if "matchExpressions" in each["namespaceSelector"])  # fmt: skip

    layers = {"istio-system", "kourier-system", "contour-external", "contour-internal", "envoy-gateway-system"}
    assert layers | {"knative-serving"} == set(named_ones)
    assert {"namespaceSelector": {"matchLabels": {"food/network-layer": "true"}}} in callers
    readme = (overlays.OVERLAYS.parent / "README.md").read_text("utf-8")
    assert not [name for name in (*named_ones, "food/network-layer=true") if name not in readme]


def test_the_proxy_of_the_gateway_is_open_to_everybody():
    policy = policies("gateway-api")["public-host-gateway"]
    (gateway,) = of_kind("gateway-api", "Gateway", "gateway.networking")

    labels = {"gateway.networking.k8s.io/gateway-name": gateway["metadata"]["name"]}
    assert labels == policy["podSelector"]["matchLabels"]
    (rule,) = policy["ingress"]
    assert "from" not in rule
    assert {each["port"] for each in gateway["spec"]["listeners"]} <= {port["port"] for port in rule["ports"]}


# -- the public host ---------------------------------------------------------------------------------------------


@every_overlay
def test_the_public_host_has_a_certificate_and_is_reached_by_tls(overlay):
    (certificate,) = of_kind(overlay, "Certificate")
    secret = certificate["spec"]["secretName"]
    by_tls = [each for kind in ("Gateway", "DomainMapping") for each in of_kind(overlay, kind)]

    assert {"kind": "ClusterIssuer", "name": "food"}.items() <= certificate["spec"]["issuerRef"].items()
    assert ["arch.homework"] == certificate["spec"]["dnsNames"]
    assert by_tls and all(secret in str(each["spec"]) for each in by_tls)


@pytest.mark.parametrize("overlay", ["gateway-api", "openfaas", "openfaas-ce"])
def test_plain_http_leads_to_https_alone(overlay):
    routes = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "HTTPRoute")}
    plain = [name for name, spec in routes.items() if "http" in [one["sectionName"] for one in spec["parentRefs"]]]

    assert ["to-https"] == plain
    assert "https" == routes["to-https"]["rules"][0]["filters"][0]["requestRedirect"]["scheme"]


def test_istio_sends_plain_http_to_https():
    (gateway,) = of_kind("production", "Gateway")
    plain, encrypted = gateway["spec"]["servers"]

    assert (80, True) == (plain["port"]["number"], plain["tls"]["httpsRedirect"])
    assert (443, "SIMPLE") == (encrypted["port"]["number"], encrypted["tls"]["mode"])


@pytest.mark.parametrize("overlay", HIGHLY_AVAILABLE)
def test_the_edge_limits_rate_and_size(overlay):
    (limits,) = of_kind(overlay, "EnvoyFilter")

    assert {"LocalRateLimit", "Buffer"} <= set(re.findall(r"v3\.(\w+?)(?:PerRoute)?'", str(limits)))
    assert {LARGEST_BODY} == set(map(int, re.findall(r"'max_request_bytes': (\d+)", str(limits))))


@every_overlay
def test_every_place_of_the_host_is_one_that_the_settings_replace(overlay):
    known = {(group, kind) for group, kind, *_ in public_host.HOST_PLACES}
    named = [each for each in built(overlay) if public_host.HOST in str(each)]

    assert named
    assert {(each["apiVersion"].rpartition("/")[0], each["kind"]) for each in named} <= known


@every_overlay
def test_every_image_of_others_is_named_by_its_digest(overlay):
    cluster, server = of_kind(overlay, "Cluster"), of_kind(overlay, "RabbitmqCluster")

    assert all("@sha256:" in image for image in (cluster[0]["spec"]["imageName"], server[0]["spec"]["image"]))


@every_overlay
def test_a_job_is_made_anew_by_argo_cd_and_flux(overlay):
    for job in of_kind(overlay, "Job"):
        words = job["metadata"]["annotations"]
        assert "BeforeHookCreation" == words["argocd.argoproj.io/hook-delete-policy"]
        assert "enabled" == words["kustomize.toolkit.fluxcd.io/force"]


# -- monitoring --------------------------------------------------------------------------------------------------


def monitors(overlay: str) -> dict[tuple[str, str], dict]:
    kinds = ("PodMonitor", "ServiceMonitor")
    return {(kind, each["metadata"]["name"]): each["spec"] for kind in kinds for each in of_kind(overlay, kind)}


@pytest.mark.parametrize("overlay", [*HIGHLY_AVAILABLE, "openfaas", "openfaas-ce"])
def test_prometheus_finds_all_monitors_and_rules_by_the_usual_label(overlay):
    found = [each for each in built(overlay) if each["apiVersion"].startswith("monitoring.coreos.com")]

    assert found and {"kube-prometheus-stack"} == {each["metadata"]["labels"]["release"] for each in found}


@pytest.mark.parametrize("overlay", HIGHLY_AVAILABLE)
def test_knatives_broker_and_proxies_are_scraped_beside_functions_and_servers(overlay):
    pods = {name for kind, name in monitors(overlay) if kind == "PodMonitor"}

    assert {"functions", "metrics", "public-host", "broker", "proxies", "triggers", "postgres"} == pods
    assert ("ServiceMonitor", "rabbitmq") in monitors(overlay)


@pytest.mark.parametrize("overlay", ["openfaas", "openfaas-ce"])
def test_openfaas_has_its_functions_its_triggers_and_the_servers_scraped(overlay):
    pods = {name for kind, name in monitors(overlay) if kind == "PodMonitor"}

    assert {"functions", "triggers", "postgres", "order-metrics", "ops-metrics-ce"} <= pods
    ports = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"].get("prometheus.io/port")
        for each in of_kind(overlay, "Deployment")
    }
    assert all(ports.values()), ports


@pytest.mark.parametrize("overlay", HIGHLY_AVAILABLE)
def test_every_port_that_is_scraped_is_open_to_the_scraper(overlay):
    def opened(policy: str) -> set[int]:
        return {port["port"] for rule in policies(overlay)[policy]["ingress"] if "monitoring" in str(rule["from"])
                for port in rule["ports"]}  # fmt: skip

    assert {8080, 9091, 9095} <= opened("functions")
    assert [{9090}, {9187}, {9127}] == [opened(name) for name in ("broker-scraped", "postgres", "pooler")]
    assert {15692} <= opened("rabbitmq") and {8080} <= opened("relay") & opened("dead-letters")


# -- backups -----------------------------------------------------------------------------------------------------


def cluster_of(found: list[dict]) -> dict:
    return next(each["spec"] for each in found if each["kind"] == "Cluster")


def test_with_the_component_the_log_is_archived_and_a_backup_is_made_every_night():
    found = overlays.with_component("production", "backups")
    store, nightly = (
        next(each for each in found if each["kind"] == kind) for kind in ("ObjectStore", "ScheduledBackup")
    )
    (plugin,) = cluster_of(found)["plugins"]

    assert plugin["isWALArchiver"] and store["metadata"]["name"] == plugin["parameters"]["barmanObjectName"]
    assert ("plugin", plugin["name"]) == (nightly["spec"]["method"], nightly["spec"]["pluginConfiguration"]["name"])
    assert 6 == len(nightly["spec"]["schedule"].split()) and nightly["spec"]["immediate"]
    assert "retentionPolicy" in store["spec"]
    assert "400" == cluster_of(found)["postgresql"]["parameters"]["max_connections"]


def test_a_restored_cluster_reads_from_where_the_old_one_wrote_and_writes_elsewhere():
    before = cluster_of(overlays.with_component("production", "backups"))["plugins"][0]["parameters"]
    after = cluster_of(overlays.with_component("production", "restore"))
    (source,) = after["externalClusters"]

    assert before == source["plugin"]["parameters"]
    assert before["serverName"] != after["plugins"][0]["parameters"]["serverName"]
    assert {"recovery"} == set(after["bootstrap"]) and source["name"] == after["bootstrap"]["recovery"]["source"]
