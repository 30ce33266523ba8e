"""The wall seconds of a run, by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from codeft_eval.sandbox.programs import Grade


class PhaseTimer:
    """Times the phases of a run: generation, likelihood, and the wait for verdicts that are not ready then."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's seconds to a phase."""
        begin = time.monotonic()
        yield
        self._phases[name] = self._phases.get(name, 0.0) + time.monotonic() - begin

    def seconds(self, grades: Sequence[Grade]) -> dict[str, float]:
        """Return the run's wall seconds by phase, and of the programs, which run beside the model, the sums of all."""
        total = time.monotonic() - self._started
        rest = total - sum(self._phases.values())
        programs = {
            "programs_wall": sum(grade.wall_seconds for grade in grades),
            "programs_cpu": sum(grade.cpu_seconds for grade in grades),
        }
        parts = {"total": total} | self._phases | {"rest": rest} | programs
        return {name: round(value, 3) for name, value in parts.items()}
