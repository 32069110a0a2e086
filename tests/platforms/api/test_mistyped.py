"""A field that is mistyped is refused and named, whatever kind it is in: generated from the manifests themselves."""

import pytest

from tests.platforms.api import manifests
from tests.platforms.api.cluster import Refused

CASES = manifests.by_kind()


@pytest.mark.parametrize("kind", CASES)
def test_every_field_is_refused_by_its_name_when_it_is_mistyped(cluster, kind):
    paths = [path for path in manifests.fields(CASES[kind]) if path[0] != "metadata" or len(path) == 2]
    wrong = [manifests.elsewhere(manifests.mistyped(CASES[kind], path), f"wrong-{n}") for n, path in enumerate(paths)]

    with pytest.raises(Refused) as refusal:
        cluster.kubectl("create", "--dry-run=server", "--validate=strict", documents=wrong)

    print(str(refusal.value)[:20000])
    assert not [path for path in paths if f'unknown field "{manifests.written(path)}x"' not in str(refusal.value)]
