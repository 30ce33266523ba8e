"""The state of a run that is not a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from codeft_training.model.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """The state after ``step`` steps; written into every checkpoint."""

    schedule: Schedule
    micro_rows: int
    """Rows of a micro-batch that fit the memory."""
    phase_begins: tuple[int, ...]
    """Row of the run at which each stage begins, or the annealing phase; a time budget moves them."""
    step: int = 0
    seconds: float = 0.0
    """Time used by all processes that worked at the run, one after the other."""
    num_skipped: int = 0
    num_skipped_in_a_row: int = 0
    num_masked: int = 0
    """Steps without a token in the loss; they change nothing."""
    losses: tuple[float, ...] = ()
    """Of the steps since the last entry in the metrics; a skipped or masked step has none."""
    best_bits: float | None = None
    """Least bits per byte of held-out documents after any step of the stage, of the weights or of their average."""
    best_step: int = 0
    """The step after which they were measured; 0 before the first measurement."""
    best_is_average: bool = False
    num_pending: int = 0
    """Steps since the last entry, and the time they took."""
    pending_seconds: float = 0.0

    @property
    def mean_loss(self) -> float | None:
        """Of the steps since the last entry; None when every one of them was skipped or masked."""
        return sum(self.losses) / len(self.losses) if self.losses else None

    @classmethod
    def from_checkpoint(cls, record: Mapping[str, Any]) -> TrainState:
        """Return the state that a checkpoint recorded."""
        tuples = {name: tuple(record[name]) for name in ("losses", "phase_begins")}
        return cls(**{**record, **tuples, "schedule": Schedule(**record["schedule"])})

    def stepped(self, loss: float, seconds: float) -> TrainState:
        """Return the state after a step."""
        return replace(self._advanced(seconds), losses=(*self.losses, loss), num_skipped_in_a_row=0)

    def skipped(self, seconds: float) -> TrainState:
        """Return the state after a step that changed nothing."""
        advanced = self._advanced(seconds)
        return replace(advanced, num_skipped=self.num_skipped + 1, num_skipped_in_a_row=self.num_skipped_in_a_row + 1)

    def masked(self, seconds: float) -> TrainState:
        """Return the state after a step without a token in the loss."""
        return replace(self._advanced(seconds), num_masked=self.num_masked + 1)

    def is_better(self, bits: float, *, since: int) -> bool:
        """Return whether a measurement is the best of those after step ``since``."""
        return math.isfinite(bits) and (self.best_bits is None or self.best_step <= since or bits < self.best_bits)

    def improved(self, bits: float, *, is_average: bool) -> TrainState:
        """Return the state after a measurement that is the best so far."""
        return replace(self, best_bits=bits, best_step=self.step, best_is_average=is_average)

    def without_best(self) -> TrainState:
        """Return the state as if nothing had been measured."""
        return replace(self, best_bits=None, best_step=0, best_is_average=False)

    def logged(self) -> TrainState:
        """Return the state after an entry in the metrics."""
        return replace(self, losses=(), num_pending=0, pending_seconds=0.0)

    def _advanced(self, seconds: float) -> TrainState:
        return replace(
            self,
            step=self.step + 1,
            num_pending=self.num_pending + 1,
            pending_seconds=self.pending_seconds + seconds,
        )
