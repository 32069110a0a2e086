"""A field that is mistyped is refused and named, whatever kind it is in: generated from the manifests themselves."""

import re

import pytest

from tests.platforms.api import manifests
from tests.platforms.api.cluster import Cluster, Refused
from tests.platforms.api.strict import unknown_fields

CASES = manifests.by_kind()
# Where neither the schema nor the webhook looks: tests of the manifests have to.
TEMPLATE = ["spec.template.metadata.annotations", "spec.template.metadata.labels"]
LET_THROUGH = {"Service.serving.knative.dev/v1": TEMPLATE}
# Where anything may stand: Envoy's own configuration, and labels.
FREE_FORM = re.compile(r"spec\.configPatches\[\d+\]\.patch\.value\.|spec\.selector\.istio$")

every_kind = pytest.mark.parametrize("kind", CASES)


def said_of(cluster: Cluster, documents: list[dict]) -> str:
    """What is said of these, of which some at least are refused."""
    with pytest.raises(Refused) as refusal:
        cluster.kubectl("create", "--dry-run=server", "--validate=strict", documents=documents)
    return refusal.value.output + str(refusal.value)


@every_kind
def test_every_field_is_refused_by_its_name_when_it_is_mistyped(cluster, kind):
    paths = manifests.fields(CASES[kind])
    wrong = [manifests.elsewhere(manifests.mistyped(CASES[kind], path), f"wrong-{n}") for n, path in enumerate(paths)]

    said = said_of(cluster, wrong)

    let_through = [manifests.written(paths[int(number)]) for number in re.findall(r"/wrong-(\d+) created", said)]
    assert LET_THROUGH.get(kind, []) == sorted(path for path in let_through if not FREE_FORM.match(path))
    # The schema names the whole path, a webhook the field.
    named = set(re.findall(r'unknown field "(\S+)x"', said))
    refused = [path for path in paths if manifests.written(path) not in let_through]
    assert not [path for path in refused if not {manifests.written(path), path[-1]} & named]


@pytest.mark.parametrize("kind", LET_THROUGH)
def test_what_the_server_lets_through_is_found_without_it(kind):
    for path in (path for path in manifests.fields(CASES[kind]) if manifests.written(path) in LET_THROUGH[kind]):
        assert [f"{manifests.written(path)}x"] == unknown_fields(manifests.mistyped(CASES[kind], path))
