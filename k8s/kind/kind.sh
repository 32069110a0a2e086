#!/usr/bin/env bash
# A cluster of kind on this machine with everything that the overlay `small` needs, and the system on it. Needs docker,
# kind and kubectl, ten minutes and 8 GiB of memory. `kind delete cluster --name food` takes it away again.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=k8s/kind/versions.env
. k8s/kind/versions.env

releases=https://github.com
knative_config() { # NAMESPACE NAME JSON
    kubectl patch configmap "$2" --namespace "$1" --type merge --patch "{\"data\": $3}"
}
apply() { # one document after the other; what it brings is ready afterwards, in its NAMESPACE
    local namespace=$1 url
    shift
    for url in "$@"; do
        kubectl apply --server-side --force-conflicts -f "$url"
        kubectl wait --for=condition=Established --all crd --timeout=2m
    done
    kubectl wait --for=condition=Available --all deployment --namespace "$namespace" --timeout=10m
}

for program in docker kind kubectl; do
    command -v "$program" > /dev/null || { echo "expected $program on the PATH, found none: install it" >&2; exit 2; }
done

kind get clusters | grep -qx food || kind create cluster --config k8s/kind/cluster.yaml --image "$NODE_IMAGE"
kubectl config use-context kind-food

apply cert-manager "$releases/cert-manager/cert-manager/releases/download/$CERT_MANAGER/cert-manager.yaml"
kubectl apply --server-side -f k8s/kind/issuer.yaml
apply cnpg-system \
    "$releases/cloudnative-pg/cloudnative-pg/releases/download/v$CLOUDNATIVE_PG/cnpg-$CLOUDNATIVE_PG.yaml"
apply rabbitmq-system \
    "$releases/rabbitmq/cluster-operator/releases/download/$RABBITMQ_CLUSTER_OPERATOR/cluster-operator.yml" \
    "$releases/rabbitmq/messaging-topology-operator/releases/download/$RABBITMQ_TOPOLOGY_OPERATOR/messaging-topology-operator-with-certmanager.yaml"
apply knative-serving \
    "$releases/knative/serving/releases/download/$KNATIVE_SERVING/serving-crds.yaml" \
    "$releases/knative/serving/releases/download/$KNATIVE_SERVING/serving-core.yaml"
apply kourier-system \
    "$releases/knative-extensions/net-kourier/releases/download/$KNATIVE_KOURIER/kourier.yaml"
kubectl apply --server-side --force-conflicts -f k8s/kind/kourier.yaml
knative_config knative-serving config-network '{"ingress-class": "kourier.ingress.networking.knative.dev"}'
knative_config knative-serving config-autoscaler '{"allow-zero-initial-scale": "true"}'
apply knative-eventing \
    "$releases/knative/eventing/releases/download/$KNATIVE_EVENTING/eventing-crds.yaml" \
    "$releases/knative/eventing/releases/download/$KNATIVE_EVENTING/eventing-core.yaml" \
    "$releases/knative-extensions/eventing-rabbitmq/releases/download/$KNATIVE_RABBITMQ/rabbitmq-broker.yaml"

# Knative asks no registry about images of kind.local: they are loaded into the node.
owners=$(.venv/bin/python -c 'from tools.generate.manifests.listed import owners; print(*owners())')
images="$owners triggers jobs"
make images names="$images" registry=kind.local/food version=dev
for name in $images; do
    kind load docker-image --name food "kind.local/food/$name:dev"
done
make deploy overlay=small registry=kind.local/food version=dev host=food.127.0.0.1.sslip.io
echo "https://food.127.0.0.1.sslip.io:8443/health answers (curl -k)"
