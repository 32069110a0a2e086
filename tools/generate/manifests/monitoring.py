"""What Prometheus scrapes, its alert rules, and the dashboard: for the Prometheus operator and Grafana's sidecar."""

import yaml

from tools.generate.manifests.knative import FALLBACK, METRICS_PORT, NAMESPACE, PORT, Document, document, labels
from triggers.stack import ROOT

RULES = [ROOT / "k8s" / "prometheus" / name for name in ("rules.yaml", "servers.yaml")]
DASHBOARD = ROOT / "k8s" / "grafana" / "food-orders.json"
EVERY = "15s"
# What a Prometheus of the usual Helm chart looks for; k8s/settings has another one's put there.
RELEASE = "kube-prometheus-stack"
LABELS = {"labels": {**labels("monitoring"), "release": RELEASE}}
SERVICE = "serving.knative.dev/service"
METRICS = ("order-metrics", "ops-metrics")
# Those two are the installation's own: Prometheus says that it belongs to it.
TOKEN = {"name": "installation-token", "key": "installation-token"}


def functions() -> list[Document]:
    """Every instance of a Knative service by itself: behind the service's name they would take turns.

    The metrics of orders and dead letters come from two functions that ask their owner's tables. The public host is
    open to everybody, so it serves its own metrics at another port.
    """
    own = _endpoint("/_/metrics")
    metrics = {**_endpoint("/internal/metrics"), "authorization": {"credentials": TOKEN}}
    elsewhere = {**own, "relabelings": [*own["relabelings"], _at_port(METRICS_PORT)]}
    return [
        _monitor("functions", _services("NotIn", FALLBACK), own),
        _monitor("metrics", _services("In", *METRICS), metrics),
        _monitor("public-host", _services("In", FALLBACK), elsewhere),
    ]


def _services(operator: str, *names: str) -> Document:
    one_of = [{"key": SERVICE, "operator": operator, "values": [*names]}] if names else []
    return {
        "matchLabels": {"app.kubernetes.io/part-of": "food"},
        "matchExpressions": [{"key": SERVICE, "operator": "Exists"}, *one_of],
    }


def _endpoint(path: str) -> Document:
    service = {"sourceLabels": ["__meta_kubernetes_pod_label_serving_knative_dev_service"], "targetLabel": "service"}
    times = {"interval": EVERY, "scrapeTimeout": "10s"}
    return {"path": path, "portNumber": PORT, **times, "relabelings": [service]}


def _at_port(port: int) -> Document:
    # A Knative service declares one port, and only declared ones can be named.
    return {
        "sourceLabels": ["__meta_kubernetes_pod_ip"],
        "targetLabel": "__address__",
        "replacement": f"$1:{port}",
    }


def _monitor(name: str, selector: Document, endpoint: Document) -> Document:
    spec = {"jobLabel": SERVICE, "selector": selector, "podMetricsEndpoints": [endpoint]}
    return document("monitoring.coreos.com/v1", "PodMonitor", name, spec, **LABELS)


def broker() -> list[Document]:
    """Knative's ingress and dispatchers, and its proxy beside each function.

    Both tell of themselves where Knative is told to: `metrics-protocol` and `request-metrics-protocol: prometheus` in
    the ConfigMaps config-observability.
    """
    programs = {"matchExpressions": [{"key": "eventing.knative.dev/brokerRole", "operator": "Exists"}]}
    proxies = _services("Exists")
    return [
        _pods("broker", programs, {"port": "http-metrics", "path": "/metrics"}),
        _pods("proxies", proxies, {"port": "http-usermetric", "path": "/metrics"}),
    ]


def triggers() -> list[Document]:
    """Our own triggers, each at the port that its pod names.

    On Knative these are the relay and the buffer of dead letters; on OpenFaaS all of them.
    """
    about = "__meta_kubernetes_pod_annotation_prometheus_io_port"
    address = {
        "sourceLabels": ["__meta_kubernetes_pod_ip", about],
        "regex": r"(.+);(\d+)",
        "targetLabel": "__address__",
        "replacement": "$1:$2",
    }
    named = {"sourceLabels": [about], "action": "keep", "regex": r"\d+"}
    ours = {
        "matchLabels": {"app.kubernetes.io/part-of": "food"},
        "matchExpressions": [
            {"key": "app.kubernetes.io/component", "operator": "In", "values": ["broker", "gateway"]},
            {"key": SERVICE, "operator": "DoesNotExist"},
        ],
    }
    return [_pods("triggers", ours, {"path": "/_/metrics", "relabelings": [named, address]})]


def of_openfaas() -> list[Document]:
    """Every replica of a function in OpenFaaS' namespace, and the two functions that ask the tables.

    In stack-ce.yml those two are behind their owner's deployment, each at a path of its own.
    """
    everywhere = {"matchExpressions": [{"key": "faas_function", "operator": "Exists"}]}
    here = {"namespaceSelector": {"matchNames": ["openfaas-fn"]}}
    asks = {"authorization": {"credentials": TOKEN}, "portNumber": PORT}
    found = [_pods("functions", everywhere, {"path": "/_/metrics", "portNumber": PORT}, here)]
    for name in METRICS:
        alone = {"matchLabels": {"faas_function": name}}
        together = {"matchLabels": {"faas_function": name.partition("-")[0]}}
        found.append(_pods(name, alone, {**asks, "path": "/internal/metrics"}, here))
        found.append(_pods(f"{name}-ce", together, {**asks, "path": f"/function/{name}/internal/metrics"}, here))
    for each in found:
        # The credentials are read where the monitor is.
        each["metadata"]["namespace"] = "openfaas-fn"
    return found


def _pods(name: str, selector: Document, endpoint: Document, more: Document | None = None) -> Document:
    times = {"interval": EVERY, "scrapeTimeout": "10s"}
    spec = {**(more or {}), "selector": selector, "podMetricsEndpoints": [{**endpoint, **times}]}
    return document("monitoring.coreos.com/v1", "PodMonitor", name, spec, **LABELS)


def servers() -> list[Document]:
    """RabbitMQ and PostgreSQL, by the exporters that their operators bring.

    The depth of each queue gets the name that our own dispatcher has for it: dashboard and alerts ask for that.
    """
    rabbitmq = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "rabbitmq"}},
        "endpoints": [{"port": "prometheus", "interval": EVERY}, _depths()],
    }
    postgres = {
        "selector": {"matchLabels": {"cnpg.io/cluster": "food-db"}},
        "podMetricsEndpoints": [{"port": "metrics", "interval": EVERY}],
    }
    return [
        document("monitoring.coreos.com/v1", "ServiceMonitor", "rabbitmq", rabbitmq, **LABELS),
        document("monitoring.coreos.com/v1", "PodMonitor", "postgres", postgres, **LABELS),
    ]


def _depths() -> Document:
    renamed = {
        "sourceLabels": ["__name__"],
        "regex": "rabbitmq_detailed_queue_messages_ready",
        "targetLabel": "__name__",
        "replacement": "broker_queue_messages",
    }
    asked = {"path": "/metrics/detailed", "params": {"family": ["queue_coarse_metrics"]}}
    return {"port": "prometheus", "interval": EVERY, **asked, "metricRelabelings": [renamed]}


def rules() -> list[Document]:
    """The alert rules of k8s/prometheus, as the operator takes them."""
    groups = {"groups": [group for path in RULES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]}
    return [document("monitoring.coreos.com/v1", "PrometheusRule", "food", groups, **LABELS)]


def dashboard() -> list[Document]:
    """The dashboard of k8s/grafana, in the ConfigMap that Grafana's sidecar looks for."""
    about = {
        "name": "food-orders-dashboard",
        "namespace": NAMESPACE,
        "labels": {**labels("monitoring"), "grafana_dashboard": "1"},
    }
    data = {DASHBOARD.name: DASHBOARD.read_text("utf-8")}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}]
