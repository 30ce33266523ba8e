"""Observes a tree of processes from outside: its members, and how much memory they hold."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def processes_below(pid: int, depth: int) -> list[int]:
    """Return the processes at ``depth`` generations below ``pid`` and deeper, in no order."""
    generation, found = [pid], []
    for distance in range(1, 64):
        generation = [child for parent in generation for child in _children(parent)]
        if distance >= depth:
            found += generation
        if not generation:
            break
    return found


def private_memory(pid: int) -> int:
    """Return the bytes that a process holds alone (resident less shared, proc(5) statm); 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def _children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        texts = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in tasks]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for text in texts for child in text.split()]
