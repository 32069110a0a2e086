"""What Prometheus scrapes, its alert rules, and the dashboard: for the Prometheus operator and Grafana's sidecar."""

import yaml

from tools.generate.manifests.knative import FALLBACK, METRICS_PORT, NAMESPACE, PORT, Document, document, labels
from triggers.stack import ROOT

RULES = ROOT / "k8s" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "k8s" / "grafana" / "food-orders.json"
EVERY = "15s"
LABELS = {"labels": labels("monitoring")}
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
    return {
        "matchLabels": {"app.kubernetes.io/part-of": "food"},
        "matchExpressions": [
            {"key": SERVICE, "operator": "Exists"},
            {"key": SERVICE, "operator": operator, "values": [*names]},
        ],
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
    """The alert rules of k8s/prometheus/rules.yaml, as the operator takes them."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))
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
