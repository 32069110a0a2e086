"""What processes use: processor time and memory, by name, their children included."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A line of /proc/PID/stat, as far as it matters; `ticks` has those of ended children that were waited for."""

    parent: int
    ticks: int


def cpu_ms(named: dict[int, str]) -> dict[str, float]:
    """Milliseconds of processor time since their starts, by name."""
    running = _running()
    used: dict[str, float] = dict.fromkeys(named.values(), 0.0)
    for pid, name in _owned(running, named).items():
        used[name] += running[pid].ticks * 1000 / TICKS
    return used


def memory_mib(named: dict[int, str]) -> dict[str, float]:
    """Proportional set sizes: pages that several processes share are counted once in all."""
    sizes: dict[str, float] = defaultdict(float)
    for pid, name in _owned(_running(), named).items():
        sizes[name] += _pss_kib(pid) / 1024
    return dict(sizes)


def _running() -> dict[int, Process]:
    found = {int(entry.name): _process(entry) for entry in PROC.glob("[0-9]*")}
    return {pid: process for pid, process in found.items() if process}


def _process(entry: Path) -> Process | None:
    """None for one that has just ended."""
    try:
        words = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Process(int(words[1]), sum(map(int, words[11:15])))


def _owned(running: dict[int, Process], named: dict[int, str]) -> dict[int, str]:
    """Each process with the name of the nearest one above it that has one, itself included."""
    owners = {pid: _owner(pid, running, named) for pid in running}
    return {pid: name for pid, name in owners.items() if name}


def _owner(pid: int, running: dict[int, Process], named: dict[int, str]) -> str | None:
    while pid in running:
        if pid in named:
            return named[pid]
        pid = running[pid].parent
    return None


def _pss_kib(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
