"""Every number by which something is tried again, in one place, with the reason why they differ.

An event is tried on three levels, each slower than the one below it:

1. Whoever delivers it: our dispatcher or Knative's. Fast, because most failures are over within a second: another
   transaction was first, a process starts again. What is left is a dead letter.
2. The re-drive of what stands still, from its first event. It heals what the first level has given up, whatever the
   reason was, so it begins when that is done with and goes on for hours.
3. A person: what is marked as needing attention, and the dead letters.

A function that is unavailable as a whole (503 with Retry-After, or not reached) is no level: our dispatcher waits for
it and counts no try, since no event is at fault. Knative's dispatcher knows no such thing, and counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class Backoff:
    """Waits that double, in seconds, from `first` up to `longest`. `tries` has the first one; None: without end."""

    first: float
    longest: float
    tries: int | None = None

    def wait(self, retry: int) -> float:
        """Before the given retry; the first is 1."""
        # 2 to the power of a thousand is no float any more.
        return min(self.first * 2 ** min(retry - 1, 64), self.longest)

    def waits(self) -> Iterator[float]:
        """All of them, one after the other."""
        retries = count(1) if self.tries is None else range(1, self.tries)
        return map(self.wait, retries)


# An event's own failure, at our dispatcher. A retry waits in a queue of RabbitMQ and costs nothing meanwhile, so
# there is time: ten tries are about three minutes.
DISPATCHER = Backoff(first=0.5, longest=60, tries=10)

# The same at Knative's. A retry there holds one of the trigger's workers while it waits, so it gives up sooner, and
# there are more workers than an outage of some events needs. It has neither jitter nor a longest wait, and its delay
# is half of the first wait: 0.2 s make waits from 0.4 to 51.2 s, in all 102 s beside the calls themselves.
KNATIVE = Backoff(first=0.4, longest=51.2, tries=9)
KNATIVE_WORKERS = 20
# Longer than our dispatcher's 15 s, because a call may have to start a function that was scaled to zero.
KNATIVE_TIMEOUT = 20

# A function that is away, for our dispatcher. Nobody else is held up by asking: soon at first, because a restart
# takes a second, and never so seldom that the end of an outage is noticed much later.
UNAVAILABLE = Backoff(first=0.25, longest=15)

# RabbitMQ that is away. Each process has one connection, and asking costs the server a handshake.
RECONNECT = Backoff(first=0.2, longest=10)

# What stands still. First after a minute: what takes longer than that has been given up below, or waits for somebody
# who is away. Eight tries are about two hours; a backlog that is its own cause must not be made longer by it.
REDRIVE = Backoff(first=60, longest=3600, tries=8)
