"""The public host: which path and method goes to which function, for Istio and for the Gateway API.

Knative has no routes by path. A request is sent into the cluster once more, through Knative's local gateway, with
the host name of the function's service; its path stays as it is. What no route takes goes to the service
public-host, which answers 404 and 405 as clients know them. Who may call what is checked by the functions.
"""

import itertools
from typing import Any

from functions.shared.paths import expression
from tools.generate.manifests.knative import FALLBACK, NAMESPACE, Document, document, labels
from tools.generate.manifests.listed import listed
from triggers.stack import Function

HOST = "arch.homework"
LABELS = {"labels": labels("public-host")}
# The Gateway API takes sixteen rules in one route; the last one of ours is kept for the fallback.
MOST_RULES = 15

Place = tuple[str, Function]


def places() -> list[Place]:
    """Every public path with its function; a path without placeholders goes before one with."""
    public = [(path, one.function) for one in listed() if one.function.is_public for path in one.function.paths]
    return sorted(public, key=lambda place: ("{" in place[0], place[1].name))


def inside(service: str) -> str:
    """The host name of a service inside of the cluster."""
    return f"{service}.{NAMESPACE}.svc.cluster.local"


def istio() -> list[Document]:
    """One VirtualService on the gateway that Knative installs for Istio."""
    rules = [_istio_rule([_istio_match(*place)], place[1].name) for place in places()]
    fallback = _istio_rule([{"uri": {"prefix": "/"}}], FALLBACK)
    spec = {
        "hosts": [HOST],
        "gateways": ["knative-serving/knative-ingress-gateway"],
        "http": [*rules, fallback],
    }
    return [document("networking.istio.io/v1", "VirtualService", "public-host", spec, **LABELS)]


def _istio_match(path: str, function: Function) -> Document:
    uri = {"regex": expression(path)} if "{" in path else {"exact": path}
    return {"uri": uri, "method": {"exact": function.method}}


def _istio_rule(matches: list[Document], service: str) -> Document:
    gateway = {"host": "knative-local-gateway.istio-system.svc.cluster.local", "port": {"number": 80}}
    return {
        "name": service,
        "match": matches,
        "rewrite": {"authority": inside(service)},
        "route": [{"destination": gateway}],
        "timeout": "30s",
    }


def gateway_api() -> list[Document]:
    """A Gateway of our own, HTTPRoutes by owners, and the grant that lets them name Knative's local gateway."""
    listener = {
        "name": "http",
        "port": 80,
        "protocol": "HTTP",
        "hostname": HOST,
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    spec = {"gatewayClassName": "istio", "listeners": [listener]}
    gateway = document("gateway.networking.k8s.io/v1", "Gateway", "public-host", spec, **LABELS)
    return [gateway, _grant(), *_routes(), _route(FALLBACK, [_rule([_match_all()], FALLBACK)])]


def _grant() -> Document:
    spec = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": NAMESPACE}],
        "to": [{"group": "", "kind": "Service", "name": "knative-local-gateway"}],
    }
    grant = document("gateway.networking.k8s.io/v1", "ReferenceGrant", "food-to-local-gateway", spec, **LABELS)
    grant["metadata"]["namespace"] = "istio-system"
    return grant


def _routes() -> list[Document]:
    routes = []
    for owner, group in itertools.groupby(sorted(places(), key=_owner), key=_owner):
        rules = [_rule([_match(*place)], place[1].name) for place in group]
        for number, at in enumerate(range(0, len(rules), MOST_RULES), start=1):
            name = owner if len(rules) <= MOST_RULES else f"{owner}-{number}"
            routes.append(_route(name, rules[at : at + MOST_RULES]))
    return routes


def _owner(place: Place) -> str:
    return place[1].owner


def _route(name: str, rules: list[Document]) -> Document:
    spec = {"parentRefs": [{"name": "public-host"}], "hostnames": [HOST], "rules": rules}
    return document("gateway.networking.k8s.io/v1", "HTTPRoute", name, spec, **LABELS)


def _match(path: str, function: Function) -> Document:
    kind, value = ("RegularExpression", expression(path)) if "{" in path else ("Exact", path)
    return {"path": {"type": kind, "value": value}, "method": function.method}


def _match_all() -> Document:
    return {"path": {"type": "PathPrefix", "value": "/"}}


def _rule(matches: list[Document], service: str) -> Document:
    local = {"name": "knative-local-gateway", "namespace": "istio-system", "port": 80}
    return {
        "matches": matches,
        "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": inside(service)}}],
        "backendRefs": [local],
        "timeouts": {"request": "30s"},
    }


def domain_mapping() -> list[Document]:
    """The host as another name of the one service that knows all paths; any network layer can do it."""
    claim: dict[str, Any] = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "ClusterDomainClaim",
        "metadata": {"name": HOST, **LABELS},
        "spec": {"namespace": NAMESPACE},
    }
    target = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": FALLBACK}}
    return [claim, document("serving.knative.dev/v1beta1", "DomainMapping", HOST, target, **LABELS)]
