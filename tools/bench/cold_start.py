"""How long a function takes from nothing to its first answer, and what it holds then, beside the framework's least.

The two take turns, so that both see the same machine; what counts is the ratio of their medians.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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
HEALTH = "/_/health"
PATIENCE = 60

HELLO = '''\
def hello(request):
    """Answers whatever is asked."""
    return "hello"
'''


@dataclass(frozen=True)
class Started:
    """One start: seconds until the first answer, and MiB at that moment."""

    seconds: float
    memory: float


def cold_starts(target: Target, everything: bool, turns: int) -> Result:
    """Each function of the choice against the bare one."""
    result = Result({})
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        bare = _bare(Path(folder))
        for function in load() if everything else one_of_each_kind(load()):
            environment = _environment(target, function)
            result.details.setdefault("environment", {})[function.owner] = sorted(environment)
            pairs = [(_start(*bare, Path(folder)), _start(ALONE, environment, Path(folder))) for _ in range(turns)]
            result.measurements |= measurements(function.name, *map(list, zip(*pairs, strict=True)))
    return result


def measurements(name: str, bare: list[Started], function: list[Started]) -> dict[str, float]:
    """Medians, and their ratio."""
    least, own = (median(start.seconds * 1000 for start in starts) for starts in (bare, function))
    return {
        f"cold_start_ms.{name}": own,
        f"cold_start_ms_bare.{name}": least,
        f"cold_start_ratio.{name}": own / least,
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
    """Start, wait for the first answer, look, end."""
    port = free_port()
    began = time.perf_counter()
    with _process(command, {**environment, "PORT": str(port)}, folder / "log") as process:
        if not wait_until(_answered(process, port), PATIENCE, every=0.002) or process.poll() is not None:
            raise StartFailed(f"{' '.join(command)} does not start: {last_lines(folder / 'log')}")
        seconds = time.perf_counter() - began
        return Started(seconds, resources.memory_mib({process.pid: "it"})["it"])


def _answered(process: subprocess.Popen, port: int) -> Callable[[], bool]:
    return lambda: answers(f"http://{HOST}:{port}{HEALTH}") or process.poll() is not None


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
