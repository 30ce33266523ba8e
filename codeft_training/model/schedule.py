"""The learning rate: warm up, stay, decay (WSD); ends annealed after a number of steps or within a time budget.

Invariant: a run ends only after a complete decay. The slope it is on is part of the state, so a resumed run goes down
the same one; only a clock by which the budget will be missed bends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codeft_training.recipe_groups import ScheduleConfig

FINAL_RATE = 0.05
"""Share of the highest rate that is left at the end (nanochat's final_lr_frac)."""
MIN_DECAY_STEPS = 10
"""Least steps of a decay, however little time a budget leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A run's position in its schedule; ``decay_start`` and ``num_decay_steps`` are 0 until they are decided."""

    max_steps: int
    num_warmup_steps: int
    decay_fraction: float
    budget_seconds: float
    """0 when steps alone decide."""
    decay_start: int = 0
    num_decay_steps: int = 0
    decay_from: float = 1.0
    """Factor on the rate where the slope begins."""

    @property
    def last_step(self) -> int:
        """Number of steps the run has, as far as is known."""
        return self.decay_start + self.num_decay_steps if self.num_decay_steps else self.max_steps

    def planned(self, step: int, seconds: float, seconds_per_step: float) -> Schedule:
        """Return the schedule with the decay decided if it has to begin at ``step`` (counted from 0).

        Args:
            step: Steps done so far.
            seconds: Time used so far.
            seconds_per_step: Cost of a step, with the work between steps.
        """
        if not self.decay_fraction:
            return self
        if self.num_decay_steps:
            return self._bent(step, seconds, seconds_per_step)
        by_steps = round(self.max_steps * self.decay_fraction)
        if step >= self.max_steps - by_steps:
            return replace(self, decay_start=step, num_decay_steps=max(self.max_steps - step, 1))
        if not self.budget_seconds or seconds < (1 - self.decay_fraction) * self.budget_seconds:
            return self
        return replace(self, decay_start=step, num_decay_steps=self._affordable(step, seconds, seconds_per_step))

    def by_steps(self) -> Schedule:
        """Return the schedule with the decay that steps alone decide, for an engine without a time budget."""
        begin = self.max_steps - round(self.max_steps * self.decay_fraction)
        return self.planned(begin, seconds=0.0, seconds_per_step=0.0)

    def _bent(self, step: int, seconds: float, seconds_per_step: float) -> Schedule:
        """Return the schedule with another slope from here on, if this one would miss the budget by a twentieth."""
        left = self.last_step - step
        if not self.budget_seconds or left <= MIN_DECAY_STEPS:
            return self
        affordable = self._affordable(step, seconds, seconds_per_step)
        if abs(affordable - left) <= max(0.05 * left, 1):
            return self
        return replace(self, decay_start=step, num_decay_steps=affordable, decay_from=self.rate(step - 1))

    def _affordable(self, step: int, seconds: float, seconds_per_step: float) -> int:
        steps = int((self.budget_seconds - seconds) / max(seconds_per_step, 1e-9))
        return max(min(max(steps, MIN_DECAY_STEPS), self.max_steps - step), 1)

    def rate(self, step: int) -> float:
        """Return the factor on the learning rate of ``step`` (counted from 0), in 0..1."""
        if self.num_decay_steps and step >= self.decay_start:
            left = 1 - (step - self.decay_start + 1) / self.num_decay_steps
            return FINAL_RATE + (self.decay_from - FINAL_RATE) * max(left, 0.0)
        return min((step + 1) / (self.num_warmup_steps + 1), 1.0)


def build_schedule(config: ScheduleConfig, *, budget_seconds: float = 0.0) -> Schedule:
    """Return the schedule of a run that has not begun."""
    return Schedule(
        max_steps=config.max_steps,
        num_warmup_steps=round(config.max_steps * config.warmup_fraction),
        decay_fraction=config.decay_fraction,
        budget_seconds=budget_seconds,
    )
