"""What Prometheus scrapes, its alert rules, and the dashboard: for the Prometheus operator and Grafana's sidecar."""

import yaml

from tools.manifests.knative import NAMESPACE, PORT, Document, document, labels
from triggers.stack import ROOT

RULES = ROOT / "k8s" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "k8s" / "grafana" / "food-orders.json"
EVERY = "15s"
LABELS = {"labels": labels("monitoring")}
# The figures of orders and dead letters come from functions that ask their tables, so more seldom.
FIGURES = {"order-figures": "order", "ops-figures": "ops"}


def functions() -> list[Document]:
    """Every instance of a Knative service by itself: behind the service's name they would take turns."""
    part = {"matchLabels": {"app.kubernetes.io/part-of": "food"}}
    is_service = [{"key": "serving.knative.dev/service", "operator": "Exists"}]
    spec = {
        "selector": {**part, "matchExpressions": is_service},
        "podMetricsEndpoints": [{**_endpoint("/_/metrics"), "portNumber": PORT, "relabelings": [_named()]}],
    }
    return [document("monitoring.coreos.com/v1", "PodMonitor", "functions", spec, **LABELS)]


def _endpoint(path: str, every: str = EVERY) -> Document:
    return {"path": path, "interval": every, "scrapeTimeout": "10s"}


def _named() -> Document:
    return {
        "sourceLabels": ["__meta_kubernetes_pod_label_serving_knative_dev_service"],
        "targetLabel": "service",
    }


def servers() -> list[Document]:
    """RabbitMQ and PostgreSQL, by the exporters that their operators bring."""
    rabbitmq = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "rabbitmq"}},
        "endpoints": [{"port": "prometheus", "interval": EVERY}],
    }
    postgres = {
        "selector": {"matchLabels": {"cnpg.io/cluster": "food-db"}},
        "podMetricsEndpoints": [{"port": "metrics", "interval": EVERY}],
    }
    return [
        document("monitoring.coreos.com/v1", "ServiceMonitor", "rabbitmq", rabbitmq, **LABELS),
        document("monitoring.coreos.com/v1", "PodMonitor", "postgres", postgres, **LABELS),
    ]


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
