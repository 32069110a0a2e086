"""Build the images that the pods of the overlay `small` are made of: `python -m tests.platforms.node.images`.

The node has no network but its own, so this is done before it starts.
"""

import sys

from tests.platforms.images.containers import OF_NETWORKS, PROGRAMS, NotHere, ready
from triggers.stack import load

# The functions of an owner together, what triggers them, and what prepares an installation.
NAMES = (*sorted({function.owner for function in load()}), "triggers", "jobs")


def main() -> None:
    """Build what is not there yet, or has changed."""
    try:
        store = ready(PROGRAMS | OF_NETWORKS)
    except NotHere as problem:
        sys.exit(f"images are not built: {problem}")
    done = store.build(*NAMES)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
