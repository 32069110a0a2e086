"""What goes wrong: every kind of fault for everything that can have it, in an order that the seed decides."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.chaos.toxiproxy import DELAY, STALL
from tests.chaos.world import LONGER_THAN_EVERY_TIMEOUT, POSTGRES, RABBITMQ, World
from tests.system import eventually
from tools.local import children
from triggers.stack import load

# One stall or freeze of so many lasts for longer than every timeout.
LONG_ONES = 6


@dataclass(frozen=True)
class Fault:
    """`kind` happens to `target` for `seconds`, as soon as `at` of all orders (0 to 1) are accepted."""

    kind: str
    target: str
    seconds: float
    at: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} for {self.seconds:.1f} s"


def possible() -> list[tuple[str, str]]:
    """Every kind with every target."""
    owners = dict.fromkeys(function.owner for function in load())
    processes = [*owners, "broker", "gateway", "cron"]
    servers, queues = [POSTGRES, RABBITMQ], [function.name for function in load() if function.event_type]
    return [
        *(("kill", name) for name in [*processes, *servers]),
        *(("restart", name) for name in servers),
        *(("freeze", name) for name in processes),
        *((kind, name) for kind in ("cut", "delay", "stall") for name in servers),
        *((kind, name) for kind in ("purge", "repeat") for name in queues),
    ]


def schedule(seed: int, count: int) -> list[Fault]:
    """`count` faults, spread over the run: each possible one once before any comes again."""
    chance = random.Random(seed)
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        everything = possible()
        chance.shuffle(everything)
        chosen += everything
    return [
        Fault(kind, target, _seconds(kind, chance), (number + chance.random()) / count)
        for number, (kind, target) in enumerate(chosen[:count])
    ]


def _seconds(kind: str, chance: random.Random) -> float:
    if kind in ("freeze", "stall") and chance.randrange(LONG_ONES) == 0:
        return LONGER_THAN_EVERY_TIMEOUT
    return chance.uniform(0.2, 3.0)


@dataclass
class Saboteur:
    """Lets the faults happen, each when its time has come; two may happen at once, but not to one target."""

    world: World
    faults: list[Fault]
    progress: Callable[[], float]
    say: Callable[[str], None]
    happened: Counter[str] = field(default_factory=Counter)
    purged: int = 0
    repeated: int = 0
    last_end: float = 0.0
    next_at: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Who changes the dispatcher's queues stops the broker that it is a part of.
        self._locks = {target: threading.Lock() for _, target in possible()}
        self._of_kind = {
            "kill": self._kill, "restart": self._restart, "freeze": self._freeze, "cut": self._cut,
            "delay": self._delay, "stall": self._stall, "purge": self._purge, "repeat": self._repeat,
        }  # fmt: skip

    def work(self, over: threading.Event) -> None:
        """Until the last fault is over, or everything is."""
        under_way: list[threading.Thread] = []
        for fault in self.faults:
            self.next_at = fault.at
            while self.progress() < fault.at and not over.wait(0.02):
                pass
            under_way = [thread for thread in under_way if thread.is_alive()]
            if len(under_way) > 1:
                under_way.pop(0).join()
            thread = threading.Thread(target=self._happen, args=(fault,), name=str(fault))
            thread.start()
            under_way.append(thread)
        self.next_at = 1.0
        for thread in under_way:
            thread.join()

    def _happen(self, fault: Fault) -> None:
        # Queues are changed while the dispatcher is away, and RabbitMQ there.
        needed = {fault.target} | ({"broker", RABBITMQ} if fault.kind in ("purge", "repeat") else set())
        with ExitStack() as stack:
            for name in sorted(needed):
                stack.enter_context(self._locks[name])
            self.say(f"{self.progress():6.1%}  {fault}")
            try:
                self._of_kind[fault.kind](fault)
            except Exception as problem:
                self.problems.append(f"{fault}: {type(problem).__name__}: {problem}")
        self.happened[fault.kind] += 1
        self.last_end = time.time()

    def _kill(self, fault: Fault) -> None:
        if fault.target in (POSTGRES, RABBITMQ):
            server = getattr(self.world, fault.target)
            server.kill()
            time.sleep(fault.seconds)
            server.start()
        else:
            with self.world.held(fault.target) as process:
                process.signal(signal.SIGKILL)
                time.sleep(fault.seconds)

    def _restart(self, fault: Fault) -> None:
        getattr(self.world, fault.target).restart()

    def _freeze(self, fault: Fault) -> None:
        with self.world.held(fault.target) as process:
            process.signal(signal.SIGSTOP)
            time.sleep(fault.seconds)
            process.signal(signal.SIGCONT)

    def _cut(self, fault: Fault) -> None:
        with self.world.proxy.away(fault.target):
            time.sleep(fault.seconds)

    def _delay(self, fault: Fault) -> None:
        with self.world.proxy.toxic(fault.target, DELAY):
            time.sleep(fault.seconds)

    def _stall(self, fault: Fault) -> None:
        with self.world.proxy.toxic(fault.target, STALL):
            time.sleep(fault.seconds)

    def _purge(self, fault: Fault) -> None:
        """Events that were confirmed are lost."""
        with self._without_dispatcher(fault) as channel:
            self.purged += channel.queue_purge(self._queue(fault)).method.message_count

    def _repeat(self, fault: Fault) -> None:
        """Events come twice, and in another order."""
        with self._without_dispatcher(fault) as channel:
            taken = list(_taken(channel, self._queue(fault)))
            random.Random(str(fault)).shuffle(taken)
            for properties, body in [*taken, *reversed(taken)]:
                channel.basic_publish("", self._queue(fault), body, properties)
            self.repeated += len(taken)

    def _queue(self, fault: Fault) -> str:
        return f"food.events.{fault.target}"

    def _without_dispatcher(self, fault: Fault) -> "_Channel":
        return _Channel(self.world, self._queue(fault), fault.seconds)


class _Channel:
    """A channel to RabbitMQ while an ingress alone is the broker, and a queue has something, or its time is over."""

    def __init__(self, world: World, queue: str, seconds: float):
        self.world, self.queue, self.seconds = world, queue, seconds
        self._held = world.held("broker")
        self._ingress = world.system.plan.trigger("ingress")

    def __enter__(self):
        broker = self._held.__enter__()
        broker.signal(signal.SIGKILL)
        eventually(lambda: not broker.runs, "its end")
        self._ingress.environment = broker.environment
        self._ingress.start()
        self.channel = eventually(self._opened, "a channel", 60)
        until = time.monotonic() + self.seconds
        while time.monotonic() < until and not self._waiting():
            time.sleep(0.05)
        return self.channel

    def _opened(self):
        try:
            return self.world.system.channel()
        except Exception:
            return None

    def _waiting(self) -> int:
        return self.channel.queue_declare(self.queue, passive=True).method.message_count

    def __exit__(self, *_: object) -> None:
        self.channel.connection.close()
        children.stop([self._ingress])
        self._held.__exit__(None, None, None)


def _taken(channel, queue: str) -> Iterator[tuple]:
    while (found := channel.basic_get(queue, auto_ack=True))[0]:
        yield found[1:]
