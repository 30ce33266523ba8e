"""Tells a program that waited for a core from one that slept, and a busy machine from a quiet one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from codeft_eval.sandbox.isolation.process_tree import processes_below

TICK_SECONDS = 0.2
_STARVED_FRACTION = 0.25
"""Of the wall time, spent ready and without a core. A program of 8 CPU seconds that ends at 20 s waited for 60 %."""
_FREE_CORES = 0.5
"""Idle cores of a quiet machine, on average over a second."""


class CoreWatch:
    """Observes from outside how long a tree of processes was ready to run, with a core or without one."""

    def __init__(self, pid: int) -> None:
        """Watch all that ``pid`` started; itself it only waits."""
        self._pid = pid
        self._began = self._observed = time.monotonic()
        self.ready_seconds = 0.0

    def observe(self) -> None:
        """Count the time since the last observation if a process is ready now; at most once a tick."""
        now = time.monotonic()
        if now - self._observed < TICK_SECONDS:
            return
        if any(_is_ready(pid) for pid in processes_below(self._pid, 1)):
            self.ready_seconds += now - self._observed
        self._observed = now

    def starvation(self, cpu_seconds: float) -> str:
        """Return how long the processes waited for a core, in words; empty where that is not why they are late."""
        waited, wall = self.ready_seconds - cpu_seconds, time.monotonic() - self._began
        if waited < _STARVED_FRACTION * wall:
            return ""
        return f"{cpu_seconds:.1f} s of CPU in {wall:.0f} s: it waited {waited:.0f} s for a core on a busy machine"


class Cores:
    """The cores that this process may use."""

    def __init__(self) -> None:
        self._names = {f"cpu{number}" for number in os.sched_getaffinity(0)}

    def are_quiet(self) -> bool:
        """Observe them for a second; return whether half a core was idle."""
        before, began = self._idle_seconds(), time.monotonic()
        time.sleep(1)
        return self._idle_seconds() - before >= _FREE_CORES * (time.monotonic() - began)

    def await_quiet(self, seconds: float) -> bool:
        """Wait until they are quiet, at most so long; return whether they are."""
        deadline = time.monotonic() + seconds
        while not self.are_quiet():
            if time.monotonic() >= deadline:
                return False
        return True

    def _idle_seconds(self) -> float:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        idle = sum(int(fields[4]) + int(fields[5]) for fields in lines if fields[0] in self._names)
        return idle / os.sysconf("SC_CLK_TCK")


def _is_ready(pid: int) -> bool:
    """Return whether a thread of the process has a core or waits for one (state R, proc(5))."""
    try:
        stats = [Path(f"/proc/{pid}/task/{task}/stat").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(stat.rpartition(") ")[2].startswith("R") for stat in stats)
