"""What a function needs for its work and not for its start: libraries that are loaded after its first answer.

A platform asks a new process whether it is there before it sends what is to be done, and the way between the two is
time enough to load them. Work that comes sooner loads them itself.
"""

import importlib

_names: dict[str, None] = {}


def load(*names: str) -> None:
    """Name modules that are imported later; their users import them where they use them."""
    _names.update(dict.fromkeys(names))


def finish() -> None:
    """Import what was named; nothing happens where it was imported meanwhile."""
    for name in [*_names]:
        importlib.import_module(name)
