"""What the processes of the local system have in common; importing it reads no setting and starts nothing.

The servers too: what is imported here is in memory once, and not once in each of a dozen processes.
"""

import gc

import uvloop  # noqa: F401
from pydantic import BaseModel

import functions.shared.bearer
import functions.shared.call
import functions.shared.cron
import functions.shared.pipeline
import functions.shared.rest
import functions.shared.rs256
import functions.shared.step  # noqa: F401
import schemas.events
import schemas.order  # noqa: F401
import triggers.serve_owner  # noqa: F401
from functions.shared.settings import Settings
from schemas.fields import Wire


def build(model: type[BaseModel]) -> None:
    """Build all models that derive from `model`; each process would do that for itself at their first use."""
    for derived in model.__subclasses__():
        derived.model_rebuild()
        build(derived)


build(Settings)
build(Wire)

# Pages of objects that are looked at by the garbage collector are copied: it leaves these alone.
gc.collect()
gc.freeze()
