"""When the interpreter looks for garbage: seldom, and never in what is there for good.

What is loaded at the start stays; each look through all of it costs milliseconds, and in a process that was forked it
copies pages that were shared. What a request leaves is freed at once, but for the few things that refer to each other
in a circle: they may wait for some thousand more.
"""

import gc

# New objects before a look at the youngest generation, and looks at one generation before one at the next; the
# interpreter has 700, 10 and 10.
THRESHOLDS = (10_000, 20, 20)


def keep_what_is_loaded() -> None:
    """From here on nothing that is loaded is looked through again."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
