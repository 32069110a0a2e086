"""The public host: which path and method goes to which function, for Istio and for the Gateway API.

Knative has no routes by path. A request is sent into the cluster once more, through Knative's local gateway, with
the host name of the function's service; its path stays as it is. What no route takes goes to the service
public-host, which answers 404 and 405 as clients know them. Who may call what is checked by the functions.

Everywhere cert-manager makes the certificate, by a ClusterIssuer of the installation's; plain HTTP is redirected.
The host and the issuer are named once for everybody: the component k8s/settings puts others in their place.
"""

import itertools
from typing import Any

from functions.shared.paths import expression
from tools.generate.manifests.knative import FALLBACK, NAMESPACE, REQUESTS_A_SECOND, Document, document, labels
from tools.generate.manifests.listed import listed
from triggers.gateway import LARGEST_BODY
from triggers.stack import Function

HOST = "arch.homework"
ISSUER = "food"
TLS_SECRET = "public-host-tls"
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
    """A Gateway of our own on Istio's usual proxy, its certificate, one VirtualService, and limits at the edge."""
    rules = [_istio_rule([_istio_match(*place)], place[1].name) for place in places()]
    fallback = _istio_rule([{"uri": {"prefix": "/"}}], FALLBACK)
    spec = {"hosts": [HOST], "gateways": ["public-host"], "http": [*rules, fallback]}
    routes = document("networking.istio.io/v1", "VirtualService", "public-host", spec, **LABELS)
    # The proxy reads the Secret where it runs itself.
    return [_istio_gateway(), _certificate("istio-system"), routes, _istio_limits()]


def _istio_gateway() -> Document:
    plain = {"name": "http", "number": 80, "protocol": "HTTP"}
    encrypted = {"name": "https", "number": 443, "protocol": "HTTPS"}
    tls = {"mode": "SIMPLE", "credentialName": TLS_SECRET, "minProtocolVersion": "TLSV1_2"}
    servers = [
        {"port": plain, "hosts": [HOST], "tls": {"httpsRedirect": True}},
        {"port": encrypted, "hosts": [HOST], "tls": tls},
    ]
    spec = {"selector": {"istio": "ingressgateway"}, "servers": servers}
    return document("networking.istio.io/v1", "Gateway", "public-host", spec, **LABELS)


def _certificate(namespace: str = NAMESPACE) -> Document:
    spec = {
        "secretName": TLS_SECRET,
        "dnsNames": [HOST],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": ISSUER},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
    }
    certificate = document("cert-manager.io/v1", "Certificate", "public-host", spec, **LABELS)
    certificate["metadata"]["namespace"] = namespace
    return certificate


FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
BUCKET = {"max_tokens": 2 * REQUESTS_A_SECOND, "tokens_per_fill": REQUESTS_A_SECOND, "fill_interval": "1s"}
ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
RATE = {
    "@type": f"{FILTERS}.local_ratelimit.v3.LocalRateLimit",
    "stat_prefix": "public_host",
    "token_bucket": BUCKET,
    "filter_enabled": ALWAYS,
    "filter_enforced": ALWAYS,
}
SIZE = {"@type": f"{FILTERS}.buffer.v3.BufferPerRoute", "buffer": {"max_request_bytes": LARGEST_BODY}}


def _istio_limits() -> Document:
    """Both filters are asleep for every other host of this proxy: our virtual host wakes them."""
    rate = {"@type": RATE["@type"], "stat_prefix": "public_host"}
    size = {"@type": f"{FILTERS}.buffer.v3.Buffer", "max_request_bytes": LARGEST_BODY}
    awake = {"envoy.filters.http.local_ratelimit": RATE, "envoy.filters.http.buffer": SIZE}
    host = {"typed_per_filter_config": awake}
    vhost = {"routeConfiguration": {"vhost": {"name": f"{HOST}:443"}}}
    patches = [
        _filter("envoy.filters.http.local_ratelimit", rate),
        _filter("envoy.filters.http.buffer", size, disabled=True),
        _patch("VIRTUAL_HOST", vhost, {"operation": "MERGE", "value": host}),
    ]
    limits = _envoy_filter({"istio": "ingressgateway"}, patches)
    limits["metadata"]["namespace"] = "istio-system"
    return limits


def _gateway_limits() -> Document:
    """The proxy is for our Gateway alone, so both filters hold for all that it takes."""
    patches = [
        _filter("envoy.filters.http.local_ratelimit", RATE),
        _filter("envoy.filters.http.buffer", {**SIZE["buffer"], "@type": f"{FILTERS}.buffer.v3.Buffer"}),
    ]
    return _envoy_filter({"gateway.networking.k8s.io/gateway-name": "public-host"}, patches, "gateway-limits")


def _envoy_filter(proxies: dict[str, str], patches: list[Document], name: str = "public-host-limits") -> Document:
    spec = {"workloadSelector": {"labels": proxies}, "configPatches": patches}
    return document("networking.istio.io/v1alpha3", "EnvoyFilter", name, spec, **LABELS)


def _filter(name: str, configuration: Document, disabled: bool = False) -> Document:
    manager = {"filter": {"name": "envoy.filters.network.http_connection_manager"}}
    value = {"name": name, **({"disabled": True} if disabled else {}), "typed_config": configuration}
    where = {"listener": {"filterChain": manager}}
    return _patch("HTTP_FILTER", where, {"operation": "INSERT_BEFORE", "value": value})


def _patch(kind: str, where: Document, patch: Document) -> Document:
    return {"applyTo": kind, "match": {"context": "GATEWAY", **where}, "patch": patch}


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
    """A Gateway of our own, HTTPRoutes by owners, and the grant that lets them name Knative's local gateway.

    The policy opens the proxy that is made for the Gateway: 15021 is where a load balancer asks for its health.
    """
    routes = [*_routes(), _route(FALLBACK, [_rule([_match_all()], FALLBACK)])]
    return [*_gateway(), _grant(), *routes, _gateway_limits()]


def of_openfaas() -> list[Document]:
    """A Gateway before the Service public-host, with its certificate.

    The class is Istio's; any other that your cluster has will do.
    """
    backend = {"name": FALLBACK, "port": 80}
    rule = {"matches": [_match_all()], "backendRefs": [backend], "timeouts": {"request": "30s"}}
    return [*_gateway(), _route(FALLBACK, [rule])]


def _gateway() -> list[Document]:
    from_here = {"hostname": HOST, "allowedRoutes": {"namespaces": {"from": "Same"}}}
    tls = {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": TLS_SECRET}]}
    listeners = [
        {"name": "http", "port": 80, "protocol": "HTTP", **from_here},
        {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls, **from_here},
    ]
    spec = {"gatewayClassName": "istio", "listeners": listeners}
    gateway = document("gateway.networking.k8s.io/v1", "Gateway", "public-host", spec, **LABELS)
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    to_https = _route("to-https", [{"filters": [redirect]}], "http")
    return [gateway, _certificate(), _open(), to_https]


def _open() -> Document:
    """The proxy that is made for the Gateway runs in our namespace, where everything is closed."""
    spec = {
        "podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "public-host"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": port} for port in (80, 443, 15021)]}],
    }
    return document("networking.k8s.io/v1", "NetworkPolicy", "public-host-gateway", spec, **LABELS)


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


def _route(name: str, rules: list[Document], listener: str = "https") -> Document:
    parent = {"name": "public-host", "sectionName": listener}
    spec = {"parentRefs": [parent], "hostnames": [HOST], "rules": rules}
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
    """The host as another name of the one service that knows all paths; any network layer can do it.

    Whether plain HTTP is redirected says Knative (`http-protocol` in its ConfigMap config-network).
    """
    claim: dict[str, Any] = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "ClusterDomainClaim",
        "metadata": {"name": HOST, **LABELS},
        "spec": {"namespace": NAMESPACE},
    }
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": FALLBACK}
    target = {"ref": service, "tls": {"secretName": TLS_SECRET}}
    mapping = document("serving.knative.dev/v1beta1", "DomainMapping", HOST, target, **LABELS)
    return [claim, _certificate(), mapping]


SETTINGS = "settings"
VHOST = "spec.configPatches.[applyTo=VIRTUAL_HOST].match.routeConfiguration.vhost.name"
# Where the host and the issuer are named, by kustomize's paths; a delimiter where it is a part of the text.
HOST_PLACES: list[tuple[str, str, str, str | None]] = [
    ("cert-manager.io", "Certificate", "spec.dnsNames.0", None),
    ("networking.internal.knative.dev", "ClusterDomainClaim", "metadata.name", None),
    ("serving.knative.dev", "DomainMapping", "metadata.name", None),
    ("networking.istio.io", "VirtualService", "spec.hosts.0", None),
    ("networking.istio.io", "Gateway", "spec.servers.*.hosts.0", None),
    ("gateway.networking.k8s.io", "Gateway", "spec.listeners.*.hostname", None),
    ("gateway.networking.k8s.io", "HTTPRoute", "spec.hostnames.0", None),
    ("networking.istio.io", "EnvoyFilter", VHOST, ":"),
]
ISSUER_PLACES = [("cert-manager.io", "Certificate", "spec.issuerRef.name", None)]
RELEASE_PLACES = [
    ("monitoring.coreos.com", kind, "metadata.labels.release", None)
    for kind in ("PodMonitor", "ServiceMonitor", "PrometheusRule")
]


def settings() -> Document:
    """The component that puts host, issuer and release of a ConfigMap `settings` into their places.

    The ConfigMap is for kustomize alone: its annotation `local-config` keeps it out of the cluster.
    """
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "replacements": [
            _replacement("host", HOST_PLACES),
            _replacement("issuer", ISSUER_PLACES),
            _replacement("release", RELEASE_PLACES),
        ],
    }


def _replacement(key: str, known: list[tuple[str, str, str, str | None]]) -> Document:
    targets = []
    for group, kind, path, delimiter in known:
        named = {"name": "public-host-limits"} if kind == "EnvoyFilter" else {}
        target: Document = {"select": {"group": group, "kind": kind, **named}, "fieldPaths": [path]}
        targets.append({**target, "options": {"delimiter": delimiter, "index": 0}} if delimiter else target)
    return {"source": {"kind": "ConfigMap", "name": SETTINGS, "fieldPath": f"data.{key}"}, "targets": targets}
