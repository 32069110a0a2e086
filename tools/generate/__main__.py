"""Write all that is generated: schemas, manifests, stack-ce.yml, and the tables of the documents.

`python -m tools.generate` writes what is stale and names it; `--check` only names it, and ends with 1.
"""

import sys
from pathlib import Path
from types import ModuleType

import click

from tools.generate import documents, schemas, stack_ce
from tools.generate.manifests import folders
from triggers.stack import ROOT

# In this order: the tables of the documents are made from what stands in the others' sources alone.
PARTS: tuple[ModuleType, ...] = (schemas, folders, stack_ce, documents)


def stale() -> dict[ModuleType, list[str]]:
    """The parts of which something is stale, and its names."""
    found = {part: [_name(item) for item in part.stale()] for part in PARTS}
    return {part: names for part, names in found.items() if names}


def _name(item: Path | str) -> str:
    return str(item.relative_to(ROOT)) if isinstance(item, Path) else item


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="write nothing; end with 1 when something is stale")
def main(check: bool) -> None:
    """See the module's text."""
    found = stale()
    names = ", ".join(name for names in found.values() for name in names)
    if check and found:
        sys.exit(f"stale, run make generate: {names}")
    for part in found:
        part.write()
    print(names or "nothing is stale")


if __name__ == "__main__":
    main()
