"""What goes into the sandbox and what comes out: a program with its tests, limits, and an outcome."""

from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["passed", "failed", "unscored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use; exceeding any of them is the program's failure."""

    cpu_seconds: int = 8
    "twice what the slowest canonical solution needs (MBPP/123: 3.1–3.9 s); CPU time depends little on a busy machine"
    wall_seconds: float = 20.0
    "a sleeping program uses no CPU; reached on a busy machine, the program is run once more, alone"
    memory_bytes: int = 1 << 30
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
    """A candidate's source and the trusted code that judges it."""

    key: str
    source: str
    "model-written: the prompt and its completion, executed only in the jail"
    entry_point: str
    test: str
    "trusted: defines check(candidate), or asserts at module level; never enters the jail"
    language: str = "python"
    "of another language the test follows the source in one file and prints a nonce from its last line"
    prelude: str = ""
    "trusted: the prompt, executed by the judge for the helpers and imports that tests use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one program."""

    key: str
    verdict: Verdict
    reason: str
    "passed, wrong_answer, exception, load_error, no_entry_point, timeout, memory, exited, crashed, protocol, …"
    detail: str = ""
    stderr: str = ""
    tier: str
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    num_runs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """Which jail runs here, and what the probe saw of each tier."""

    tier: str
    reasons: dict[str, str] = field(default_factory=dict)
    "tier -> 'works', or why it does not"
