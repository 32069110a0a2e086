"""What is done in a thread again and again while a cluster runs."""

import threading
from contextlib import suppress

from tests.platforms.api.cluster import Refused


class Repeated:
    """`again` is called every so many seconds, from `start` to `stop`; what it misses it does the next time."""

    every = 0.5
    missed: tuple[type[Exception], ...] = (Refused,)

    def __init__(self, name: str):
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._work, name=name)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Wait for the end of what it is at; it may never have begun."""
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join()

    def again(self) -> None:
        raise NotImplementedError

    def _work(self) -> None:
        while not self.stopped.wait(self.every):
            with suppress(*self.missed):
                self.again()
