"""The documents' shell blocks that need a cluster, and what becomes of them in the tests.

A comment before the fence says it: `<!-- runs: interop-api -->` is run against the tests' API server, in the order of
its document. `<!-- runs: interop -->` is about another platform, and run with that; `<!-- runs: cluster -->` needs
one with nodes, and is not run.
"""

import re
from typing import NamedTuple

from tests.platforms.api.cluster import Cluster
from tools.generate.documents import DOCUMENTS

RUNS, ELSEWHERE, NEEDS_NODES = "interop-api", "interop", "cluster"
BLOCK = re.compile(r"(?:^<!-- runs: (?P<runs>\S+) -->\n+)?^```sh\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
# Whoever calls one of these talks to a cluster.
FRONT_ENDS = re.compile(r"^\s*(?:kubectl|kn|kustomize|faas-cli)\b", re.MULTILINE)


class Block(NamedTuple):
    """A block's commands, its line in the document, and its marker, None without one."""

    line: int
    commands: str
    runs: str | None

    @property
    def talks_to_a_cluster(self) -> bool:
        return bool(FRONT_ENDS.search(self.commands))


def blocks(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, found.start("commands")), found["commands"], found["runs"])
        for found in BLOCK.finditer(text)
    ]


def of_the_documents() -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document.read_text("utf-8"))]


def run(cluster: Cluster, block: Block) -> str:
    """What the commands write, each as somebody would type it, in the project's folder; Refused when one fails."""
    return cluster.run("bash", "-euo", "pipefail", "-c", block.commands)
