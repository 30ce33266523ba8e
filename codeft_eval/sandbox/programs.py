"""Input and output of the sandbox: a program with its tests, its limits, and its grade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["passed", "failed", "unscored"]
STDERR_BYTES = 8192
"""The end of a program's error output that a grade keeps."""
NOT_ISOLATED = "jail"
"""Reason of an unscored program whose isolation did not start; a value of stored samples, so it never changes."""

SLEPT, STARVED = "wall_timeout", "starved"
"""Reasons at the wall limit: the program did not want a core, or it wanted one and did not get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one program; exceeding any of them is the program's failure."""

    cpu_seconds: int = 8
    """Twice the slowest canonical solution (MBPP/123: 3.1–3.9 s); CPU time depends little on a busy machine."""
    wall_seconds: float = 20.0
    """Counts only against a program that had a core whenever it wanted one; any other is run again, alone."""
    memory_bytes: int = 2 << 30
    """Address space, half of EvalPlus' 4 GiB: a right solution of MBPP/255 needs more than one."""
    file_bytes: int = 8 << 20
    num_threads: int = 64
    num_files: int = 64

    def __post_init__(self) -> None:
        if self.cpu_seconds < 1 or self.wall_seconds <= self.cpu_seconds:
            raise ValueError(
                f"limits cpu_seconds={self.cpu_seconds}, wall_seconds={self.wall_seconds}: CPU seconds are whole and "
                "at least 1, and wall seconds exceed them; raise wall_seconds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A candidate's source and the trusted code that tests it."""

    key: str
    source: str
    """Model-written: the prompt and its completion, executed only in isolation."""
    entry_point: str
    test: str
    """Trusted: defines ``check(candidate)``, or asserts at module level; never in the candidate's process."""
    language: str = "python"
    """In other languages the test ends with a line that prints a nonce, which only its judge holds."""
    prelude: str = ""
    """Trusted: the prompt, executed by the judge for the helpers and imports that tests use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The verdict on one completion, with its reason and cost."""

    key: str
    verdict: Verdict
    reason: str
    """passed, wrong_answer, exception, load_error, no_entry_point, timeout, starved, memory, exited, …"""
    detail: str = ""
    stderr: str = ""
    isolation: str
    """The isolation level under which the program ran."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    num_runs: int = 1
