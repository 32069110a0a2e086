"""When `make deploy` says that something is ready: by what a cluster says of it, and of its newest state."""

import pytest

from tools.deploy import _lacks

TRUE = {"status": "True", "message": "-"}


def item(version: str, kind: str, spec: dict | None = None, generation: int = 2, **status: object) -> dict:
    metadata = {"name": "one", "namespace": "food", "generation": generation}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


def deployment(updated: int, there: int, available: int, seen: int = 2) -> dict:
    conditions = [{"type": "Available", **TRUE}]
    counts = {"updatedReplicas": updated, "replicas": there, "availableReplicas": available}
    return item("apps/v1", "Deployment", {"replicas": 2}, conditions=conditions, observedGeneration=seen, **counts)


def route(*conditions: str, seen: int = 2) -> dict:
    found = [{"type": each, "observedGeneration": seen, **TRUE} for each in conditions]
    return item("gateway.networking.k8s.io/v1", "HTTPRoute", {"parentRefs": [{}]}, parents=[{"conditions": found}])


@pytest.mark.parametrize(
    ("lacks", "one"),
    [
        (None, deployment(2, 2, 2)),
        ("1 of 2 pods are new, 3 are there", deployment(1, 3, 2)),
        ("2 of 2 pods are new, 2 are there", deployment(2, 2, 1)),
        ("its controller has not seen the change yet", deployment(2, 2, 2, seen=1)),
        (None, route("Accepted", "ResolvedRefs")),
        ("no condition ResolvedRefs yet", route("Accepted")),
        ("-", route("Accepted", "ResolvedRefs", seen=1)),
        ("no Gateway has taken it yet", item("gateway.networking.k8s.io/v1", "HTTPRoute", {"parentRefs": [{}]})),
        ("no condition Programmed yet", item("gateway.networking.k8s.io/v1", "Gateway")),
        (None, item("networking.istio.io/v1", "Gateway")),
        ("no condition Ready yet", item("serving.knative.dev/v1", "Service", observedGeneration=2)),
        ("its controller has not seen the change yet",
         item("serving.knative.dev/v1", "Service", conditions=[{"type": "Ready", **TRUE}], observedGeneration=1)),
        ("1 of 3 instances", item("postgresql.cnpg.io/v1", "Cluster", {"instances": 3},
                                  conditions=[{"type": "Ready", **TRUE}], readyInstances=1)),
        ("0 of 2 instances", item("postgresql.cnpg.io/v1", "Pooler", {"instances": 2})),
        (None, item("postgresql.cnpg.io/v1", "Pooler", {"instances": 2}, instances=2)),
        (None, item("v1", "ConfigMap")),
    ],
)  # fmt: skip
def test_what_is_not_ready_says_why(lacks, one):
    assert lacks == _lacks(one)
