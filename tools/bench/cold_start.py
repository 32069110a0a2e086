"""How long a function takes from nothing to its first answer, and until it could work, beside the framework's least.

The first answer is what a platform waits for before it sends work. Until then a function loads what it answers with;
when all else is loaded as well and its database is reached, it is ready, and that is when its memory is looked at.

The two take turns, so that both see the same machine; what counts is the ratio of the fastest start of each, since
whatever else the machine does only adds to one.
"""

import compileall
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.bench import resources
from tools.bench.measure import Result
from tools.bench.target import Target
from tools.local.children import answers
from tools.local.environment import HOST, ROOT, passed_on
from tools.local.processes import StartFailed, end, free_port, last_lines, wait_until
from triggers.stack import Function, load

# As the images start a function: tools/image/assemble.py.
ALONE = (sys.executable, "-m", "triggers.serve_function")
OURS = ("functions", "schemas", "triggers")
HEALTH, READY = "/_/health", "/_/ready"
PATIENCE = 60

HELLO = '''\
def hello(request):
    """Answers whatever is asked."""
    return "hello"
'''


@dataclass(frozen=True)
class Started:
    """One start: seconds until the first answer and until it was ready, and MiB at that moment."""

    seconds: float
    ready: float
    memory: float


def cold_starts(target: Target, everything: bool, turns: int) -> Result:
    """Each function of the choice against the bare one."""
    result = Result({})
    # As in images. Where Python may write no bytecode, each start would compile ours and nothing of the bare one.
    for name in OURS:
        compileall.compile_dir(ROOT / name, quiet=1)
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        bare = _bare(Path(folder))

        def both(environment: dict[str, str]) -> tuple[Started, Started]:
            return _start(*bare, Path(folder)), _start(ALONE, environment, Path(folder))

        chosen = load() if everything else one_of_each_kind(load())
        # The first of all reads its files from the disk.
        both(_environment(target, chosen[0]))
        for function in chosen:
            environment = _environment(target, function)
            result.details.setdefault("environment", {})[function.owner] = sorted(environment)
            pairs = [both(environment) for _ in range(turns)]
            result.measurements |= measurements(function.name, *map(list, zip(*pairs, strict=True)))
    return result


def measurements(name: str, bare: list[Started], function: list[Started]) -> dict[str, float]:
    """Of the fastest start of each, and the ratio; memory is the median."""
    least, own = (min(start.seconds * 1000 for start in starts) for starts in (bare, function))
    bare_ready, own_ready = (min(start.ready * 1000 for start in starts) for starts in (bare, function))
    return {
        f"cold_start_ms.{name}": own,
        f"cold_start_ms_bare.{name}": least,
        f"cold_start_ratio.{name}": own / least,
        f"ready_ms.{name}": own_ready,
        f"ready_ratio.{name}": own_ready / bare_ready,
        f"alone_mib.{name}": median(start.memory for start in function),
        f"alone_mib_bare.{name}": median(start.memory for start in bare),
    }


def one_of_each_kind(functions: tuple[Function, ...]) -> list[Function]:
    """The first of those that are started alike."""
    kinds: dict[str, Function] = {}
    for function in functions:
        kinds.setdefault("schedule" if function.schedule else function.caller, function)
    return list(kinds.values())


def _environment(target: Target, function: Function) -> dict[str, str]:
    """The environment of an image's function."""
    if target.environment is None:
        raise StartFailed("cold start: expected a system whose secrets are known")
    return target.environment.of_functions(function.owner) | {
        "FUNCTION_SOURCE": function.source,
        "FUNCTION_TARGET": function.target,
        "HOST": HOST,
    }


def _bare(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The framework's own command with a function that does nothing: command and environment."""
    source = folder / "hello.py"
    source.write_text(HELLO)
    framework = str(Path(sys.executable).with_name("functions-framework"))
    command = (framework, "--source", str(source), "--target", "hello", "--host", HOST)
    return command, passed_on(os.environ)


def _start(command: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> Started:
    """Start, wait for the first answer and until it is ready, look, end."""
    port = free_port()
    began = time.perf_counter()
    with _process(command, {**environment, "PORT": str(port)}, folder / "log") as process:
        seconds, ready = (_seconds_until(process, f"http://{HOST}:{port}{path}", began) for path in (HEALTH, READY))
        if None in (seconds, ready):
            raise StartFailed(f"{' '.join(command)} does not start: {last_lines(folder / 'log')}")
        return Started(seconds, ready, resources.memory_mib({process.pid: "it"})["it"])


def _seconds_until(process: subprocess.Popen, url: str, began: float) -> float | None:
    """Seconds since `began` when `url` was answered; None where the process ends or takes too long."""
    answered = wait_until(lambda: answers(url) or process.poll() is not None, PATIENCE, every=0.002)
    return time.perf_counter() - began if answered and process.poll() is None else None


@contextmanager
def _process(command: tuple[str, ...], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        end(process.pid)
        process.wait()
