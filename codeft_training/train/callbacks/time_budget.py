"""Time budget: before each step, the clock decides whether the next part of the run begins, and how its rate falls."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from codeft_training.model.distributed import DistributedContext
from codeft_training.model.schedule import Bend, Schedule
from codeft_training.train.callbacks.callback import Callback, Engine


class ScheduledEngine(Engine, Protocol):
    """An engine whose schedule can change while it runs."""

    def follow(self, schedule: Schedule) -> None:
        """Go on by this schedule."""
        ...


class TimeBudget(Callback):
    """Plans the lines of the learning rate, the same in all processes."""

    def __init__(self, context: DistributedContext) -> None:
        self._context = context
        self._after_first: tuple[int, float] | None = None

    def on_step_begin(self, engine: ScheduledEngine) -> None:
        planned = engine.schedule.planned(engine.step, engine.seconds, self._seconds_per_step(engine))
        engine.follow(self._agreed(planned))

    def on_step_end(self, engine: Engine) -> None:
        self._after_first = self._after_first or (engine.step, engine.seconds)

    def _seconds_per_step(self, engine: Engine) -> float:
        step, seconds = engine.step, engine.seconds
        first, after_first = self._after_first or (step, 0.0)
        # the first step compiles, so it counts only until there is another
        return (seconds - after_first) / (step - first) if step > first else seconds / max(step, 1)

    def _agreed(self, schedule: Schedule) -> Schedule:
        """Return rank 0's schedule: the processes' clocks differ, and they must end at the same step."""
        if self._context.size == 1 or not schedule.budget_seconds:
            return schedule
        bend = schedule.bend or Bend(-1, 0.0)
        known = torch.tensor([*bend, schedule.last_step, *schedule.begins], dtype=torch.float64)
        decided = known.to(self._context.device) if self._context.is_main else torch.zeros_like(known)
        decided = decided.to(self._context.device)
        self._context.all_reduce([decided])
        step, rate, last_step, *begins = decided.tolist()
        agreed = replace(schedule, last_step=int(last_step), begins=tuple(int(begin) for begin in begins))
        return replace(agreed, bend=Bend(int(step), rate) if step >= 0 else None)
