"""Work that pauses where it asks for something, and goes on with the answer.

So what many ask for is collected and asked for together, and whoever writes such work writes a plain function.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Ask = Callable[[Any], Any]


class Pausing(Generic[T]):
    """One piece of work, in a greenlet: it has run until it asked, or to its end."""

    def __init__(self, work: Callable[[Ask], T]):
        # Only here: a function that never does two things at once must not pay for loading it.
        from greenlet import getcurrent, greenlet

        self.asked: Any = None
        self.done: T | None = None
        self._greenlet = greenlet(work)
        self._arrived(self._greenlet.switch(getcurrent().switch))

    @property
    def pauses(self) -> bool:
        """Whether it waits for an answer; otherwise it is done."""
        return not self._greenlet.dead

    def go_on(self, answer: Any) -> None:
        """Hand over what it waits for. Raises what the work raises."""
        self._arrived(self._greenlet.switch(answer))

    def fail(self, problem: Exception) -> None:
        """Raise `problem` where it waits. Raises what the work raises."""
        self._arrived(self._greenlet.throw(problem))

    def _arrived(self, at: Any) -> None:
        if self.pauses:
            self.asked = at
        else:
            self.asked, self.done = None, at
