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

# In this order: the tables of the documents are made from what the others have written.
PARTS: tuple[ModuleType, ...] = (schemas, folders, stack_ce, documents)


def _name(item: Path | str) -> str:
    return str(item.relative_to(ROOT)) if isinstance(item, Path) else item


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="write nothing; end with 1 when something is stale")
def main(check: bool) -> None:
    """See the module's text."""
    names = []
    for part in PARTS:
        found = [_name(item) for item in part.stale()]
        if found and not check:
            part.write()
        names += found
    if check and names:
        sys.exit(f"stale, run make generate: {', '.join(names)}")
    print(", ".join(names) or "nothing is stale")


if __name__ == "__main__":
    main()
