"""What the processes of the local system have in common; importing it reads no setting and starts nothing."""

import gc

import functions.shared.bearer
import functions.shared.call
import functions.shared.cron
import functions.shared.rest
import functions.shared.step  # noqa: F401
import schemas.order  # noqa: F401

# Pages of objects that are looked at by the garbage collector are copied: it leaves these alone.
gc.collect()
gc.freeze()
