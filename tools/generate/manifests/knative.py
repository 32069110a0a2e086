"""Knative Services, Triggers and PingSources: one service a function, or one an owner (a bundle)."""

import re
from typing import Any

from functions.shared.retry_policy import KNATIVE, KNATIVE_TIMEOUT, KNATIVE_WORKERS
from tools.generate.manifests.listed import Listed, image, listed, of_owner, owners

Document = dict[str, Any]

NAMESPACE = "food"
BROKER = "food"
ACCOUNT = "food"
PORT = 8080
# The service that knows every public path, and the port of its metrics: beside the ports of Knative's own proxy.
FALLBACK = "public-host"
# Knative's dispatchers and ping sources know no token of ours; this service adds it (k8s/broker).
RELAY = "relay"
METRICS_PORT = 9095
# Of each proxy at the edge and each instance of the gateway, for all clients together; one with more than that to do
# has other troubles.
REQUESTS_A_SECOND = 500
SECRETS = "/var/openfaas/secrets"
# The broker drops a dead letter that its sink does not take within the retries: this one keeps it for the real sink.
BUFFER = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "dead-letters"}}
INSIDE = {
    "BROKER_URL": f"http://{BROKER}-broker-ingress.{NAMESPACE}.svc.cluster.local",
    "FUNCTION_URL": f"http://{{name}}.{NAMESPACE}.svc.cluster.local",
}
BUNDLED = {**INSIDE, "FUNCTION_URL": f"http://{{owner}}.{NAMESPACE}.svc.cluster.local/function/{{name}}"}
# What differs from function to function has no place in a bundle.
OF_ONE = {"FUNCTION_SOURCE", "FUNCTION_TARGET"}
# As many requests at a time as an instance has threads.
THREADS = 8
# The public host works on one event loop: a request costs it a connection and no thread.
AT_A_TIME = 100

DELIVERY = {
    "retry": KNATIVE.tries - 1,
    "backoffPolicy": "exponential",
    "backoffDelay": f"PT{KNATIVE.first / 2:g}S",
    "timeout": f"PT{KNATIVE_TIMEOUT}S",
}
# Of each of a Trigger's two dispatchers, which take 47 MiB at work; without these each may have four processors.
DISPATCHER = {
    "rabbitmq.eventing.knative.dev/parallelism": str(KNATIVE_WORKERS),
    "rabbitmq.eventing.knative.dev/cpu-request": "20m",
    "rabbitmq.eventing.knative.dev/memory-request": "64Mi",
    "rabbitmq.eventing.knative.dev/cpu-limit": "1",
    "rabbitmq.eventing.knative.dev/memory-limit": "256Mi",
}

PRIVATE = {"networking.knative.dev/visibility": "cluster-local"}
# A probe is answered beside the work; what it waits for is a share of a processor that is busy elsewhere.
PROBE = {"httpGet": {"path": "/_/health"}, "timeoutSeconds": 5}

LOCKED_IN = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def labels(component: str) -> dict[str, str]:
    """The labels by which policies and monitors find it."""
    return {"app.kubernetes.io/part-of": "food", "app.kubernetes.io/component": component}


def document(api: str, kind: str, name: str, spec: Document, **metadata: Any) -> Document:
    """A document of our namespace; where Argo CD applies it, after the servers and the Jobs."""
    annotations = {"argocd.argoproj.io/sync-wave": "3", **metadata.pop("annotations", {})}
    known = {"name": name, "namespace": NAMESPACE, **metadata, "annotations": annotations}
    return {"apiVersion": api, "kind": kind, "metadata": known, "spec": spec}


def service_of(one: Listed) -> Document:
    """The service of one function; private: whoever comes from outside comes by the public host."""
    warm = {"food/sleeps": "true"} if not one.least else {"food/every-order": "true"} if one.most > 1 else {}
    environment = {**one.environment, **{name: url for name, url in INSIDE.items() if name in one.environment}}
    return _service(
        name=one.name,
        labels={**labels(one.function.owner), "food/caller": one.function.caller, **warm, **PRIVATE},
        scale=(one.least, one.most),
        container=_container(one.image, _threaded(environment), one.secrets, one.requests, one.limits),
        secrets=one.secrets,
    )


def bundle_of(owner: str) -> Document:
    """The service of all functions of an owner in one process; warm when one of them has to be."""
    functions = of_owner(owner)
    secrets = tuple(dict.fromkeys(secret for one in functions for secret in one.secrets))
    together = {name: value for one in functions for name, value in one.environment.items() if name not in OF_ONE}
    environment = {name: BUNDLED.get(name, value) for name, value in together.items()}
    limits = {"cpu": "1", "memory": "512Mi"}
    return _service(
        name=owner,
        labels={**labels(owner), **PRIVATE},
        scale=(max(one.least for one in functions), 3),
        container=_container(
            image(owner), _threaded(environment), secrets, {"cpu": "50m", "memory": "128Mi"}, limits
        ),
        secrets=secrets,
    )


def _threaded(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "THREADS": str(THREADS)}


def _service(
    name: str,
    labels: dict[str, str],
    scale: tuple[int, int],
    container: Document,
    secrets: tuple[str, ...],
    at_a_time: int = THREADS,
) -> Document:
    least, most = scale
    volumes = [{"name": name, "secret": {"secretName": name}} for name in secrets]
    pod = {
        "containerConcurrency": at_a_time,
        "timeoutSeconds": 30,
        "enableServiceLinks": False,
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
    }
    annotations = {"autoscaling.knative.dev/min-scale": str(least), "autoscaling.knative.dev/max-scale": str(most)}
    public = {name: value for name, value in labels.items() if not name.startswith("networking.")}
    template = {"metadata": {"annotations": annotations, "labels": public}, "spec": pod}
    return document("serving.knative.dev/v1", "Service", name, {"template": template}, labels=labels)


def _container(
    image: str, environment: dict[str, str], secrets: tuple[str, ...], requests: Document, limits: Document
) -> Document:
    return {
        "image": image,
        "ports": [{"containerPort": PORT}],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "readinessProbe": {**PROBE, "periodSeconds": 5},
        "livenessProbe": {**PROBE, "periodSeconds": 20, "failureThreshold": 6},
        "resources": {"requests": requests, "limits": limits},
        "securityContext": LOCKED_IN,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            *({"name": name, "mountPath": f"{SECRETS}/{name}", "readOnly": True} for name in secrets),
        ],
    }


def gateway(bundled: bool) -> Document:
    """What answers 404 and 405, as clients know them, for the paths that no function has; of bundles it has all.

    Then it is the one service that has an address outside of the cluster.
    """
    inside = BUNDLED if bundled else INSIDE
    environment = {
        "FUNCTION_URL": inside["FUNCTION_URL"],
        "METRICS_PORT": str(METRICS_PORT),
        # Kourier has no limit of its own; of an edge that has one this is the second.
        "GATEWAY_REQUESTS_PER_SECOND": str(REQUESTS_A_SECOND),
    }
    container = _container(
        image("triggers"), environment, (), {"cpu": "50m", "memory": "96Mi"}, {"cpu": "1", "memory": "256Mi"}
    )
    container = {"image": container["image"], "args": ["gateway"], **container}
    about = {**labels("gateway"), "food/every-order": "true", **({} if bundled else PRIVATE)}
    return _service(FALLBACK, about, (1, 5), container, (), AT_A_TIME)


def trigger_of(one: Listed) -> Document:
    """The subscription of a step to its events; both delivery and dead-letter sink are on every one."""
    spec = {
        "broker": BROKER,
        "filter": {"attributes": {"type": one.function.event_type}},
        "subscriber": by_relay(one.name),
        "delivery": {**DELIVERY, "deadLetterSink": BUFFER},
    }
    about = {"labels": labels(one.function.owner), "annotations": DISPATCHER}
    return document("eventing.knative.dev/v1", "Trigger", one.name, spec, **about)


def by_relay(name: str) -> Document:
    """Where the events and runs of a function go: the relay, which knows its address and adds the token."""
    return {"ref": {"apiVersion": "v1", "kind": "Service", "name": RELAY}, "uri": f"/function/{name}"}


def schedule_of(one: Listed) -> Document:
    """The ping source of a scheduled function; the event has no data, as the function asks for none."""
    spec = {"schedule": cron_line(one.function.schedule), "timezone": "UTC", "sink": by_relay(one.name)}
    return document("sources.knative.dev/v1", "PingSource", one.name, spec, labels=labels(one.function.owner))


def cron_line(schedule: str) -> str:
    """A PingSource's schedule, which knows seconds and refuses `@every`: `@every 10s` is `*/10 * * * * *`."""
    found = re.fullmatch(r"@every (\d+)([smh])", schedule)
    if not found:
        return schedule
    every, unit = int(found[1]), found[2]
    most = {"s": 60, "m": 60, "h": 24}[unit]
    if every < 1 or most % every:
        raise ValueError(f"expected a schedule that divides its unit evenly, got {schedule}")
    step = "*" if every == 1 else f"*/{every}"
    return {"s": f"{step} * * * * *", "m": f"{step} * * * *", "h": f"0 {step} * * *"}[unit]


def steps() -> list[Listed]:
    """The functions that events start."""
    return [one for one in listed() if one.function.event_type]


def scheduled() -> list[Listed]:
    """The functions that cron starts."""
    return [one for one in listed() if one.function.schedule]


def services(owner: str) -> list[Document]:
    """One service for each function of an owner."""
    return [service_of(one) for one in of_owner(owner)]


def bundles() -> list[Document]:
    """One service for each owner."""
    return [bundle_of(owner) for owner in owners()]
