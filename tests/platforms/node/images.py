"""Build the images that the pods of the overlay `small` are made of: `python -m tests.platforms.node.images`.

The node has no network but its own, so this is done before it starts.
"""

import sys

from tests.platforms.images.containers import OF_NETWORKS, PROGRAMS, NotHere, Store, prepare
from tools.image.assemble import contents
from triggers.stack import load

# The functions of an owner together, what triggers them, and what prepares an installation.
NAMES = (*sorted({function.owner for function in load()}), "triggers", "jobs")


def main() -> None:
    """Build what is not there yet, or has changed."""
    try:
        prepare(PROGRAMS | OF_NETWORKS)
        store = Store()
        store.make_base()
    except NotHere as problem:
        sys.exit(f"images are not built: {problem}")
    store.make_libraries()
    done = store.build(*(name for name in NAMES if contents(name)))
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
