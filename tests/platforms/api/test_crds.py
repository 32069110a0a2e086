"""Every committed CRD is the one that its project has published."""

import hashlib

from tests.platforms.api.strict import CRDS


def test_every_crd_is_in_the_list_of_sources_and_as_it_was_there():
    rows = [row.strip("| ").split(" | ") for row in (CRDS / "SOURCES.md").read_text("utf-8").splitlines()]
    listed = {row[0]: row[-1] for row in rows if row[0].endswith(".yaml")}

    files = {str(path.relative_to(CRDS)): path.read_bytes() for path in CRDS.rglob("*.yaml")}
    assert listed == {name: hashlib.sha256(content).hexdigest()[:16] for name, content in files.items()}
