"""The documents' commands for a cluster are run, or say that they need more of one than there is here."""

import pytest

from tests.platforms.api.cluster import Refused
from tests.platforms.api.shell_blocks import ELSEWHERE, NEEDS_NODES, RUNS, Block, blocks, of_the_documents, run

TEXT = """
```sh
make test
```

<!-- runs: interop-api -->

```sh
kubectl get namespaces
```

<!-- runs: cluster -->
```sh
make image && \\
  kn service list
```
"""


def test_a_block_is_known_by_the_comment_before_it():
    assert [(2, None, False), (8, RUNS, True), (13, NEEDS_NODES, True)] == [
        (block.line, block.runs, block.talks_to_a_cluster) for block in blocks(TEXT)
    ]


def test_every_block_of_the_documents_that_talks_to_a_cluster_says_whether_it_is_run():
    assert not [block for block in of_the_documents() if block.talks_to_a_cluster and block.runs is None]
    assert {block.runs for block in of_the_documents()} <= {None, RUNS, ELSEWHERE, NEEDS_NODES}


def test_a_command_that_fails_fails_its_block(cluster):
    with pytest.raises(Refused, match="no-such-kind"):
        run(cluster, Block(1, "kubectl get no-such-kind\ntrue\n", RUNS))


@pytest.mark.parametrize("applied", [None], indirect=True, ids=["nothing is there"])
def test_the_documents_commands_work_one_after_the_other(applied):
    to_run = [block for block in of_the_documents() if block.runs == RUNS]

    assert to_run
    for block in to_run:
        print(run(applied.cluster, block))
