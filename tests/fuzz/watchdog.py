"""What one input costs each process: processor time and memory at its peak, read from /proc.

See proc(5): `stat` counts ticks of all threads of a process, `VmHWM` is the peak of its memory since it was reset.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of the process that an input cost most: seconds of processor time, MiB more than before at the peak."""

    cpu: float = 0.0
    memory: float = 0.0


class Process:
    """One process of the system, by its pid."""

    def __init__(self, name: str, pid: int):
        self.name, self.pid = name, pid
        self._proc = Path(f"/proc/{pid}")

    @property
    def is_there(self) -> bool:
        """Whether it runs: one that has ended and waits for its parent does not."""
        try:
            return self._stat()[0] != "Z"
        except OSError:
            return False

    @property
    def cpu(self) -> float:
        """Seconds of processor time since it began."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) * TICK

    def memory(self) -> tuple[float, float]:
        """MiB now, and at the peak since the last reset."""
        values = dict(line.split(":", 1) for line in (self._proc / "status").read_text().splitlines())
        return tuple(int(values[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))

    def reset_peak(self) -> None:
        """From now on the peak is that of what comes."""
        (self._proc / "clear_refs").write_text("5")

    def _stat(self) -> list[str]:
        # The command's name, in brackets, may have blanks in it.
        return (self._proc / "stat").read_text().rpartition(")")[2].split()


class Watchdog:
    """All processes of the system, looked at before and after each input."""

    def __init__(self, processes: list[Process]):
        self.processes = processes
        self.at_start = {process.name: process.memory()[0] for process in processes}

    def ended(self) -> list[str]:
        """The names of processes that are not there any more."""
        return [process.name for process in self.processes if not process.is_there]

    def cost_of(self, work: Callable[[], None]) -> Cost:
        """Do `work`, and tell what it cost. Raises OSError when a process ends meanwhile."""
        before = []
        for process in self.processes:
            process.reset_peak()
            before.append((process.cpu, process.memory()[0]))
        work()
        cpus, peaks = [], []
        for process, (cpu, memory) in zip(self.processes, before, strict=True):
            cpus.append(process.cpu - cpu)
            peaks.append(process.memory()[1] - memory)
        return Cost(max(cpus), max(peaks))

    def grown(self) -> dict[str, float]:
        """How many MiB more each process has than at the start."""
        return {process.name: process.memory()[0] - self.at_start[process.name] for process in self.processes}
