"""The learning rate: a warm-up, then straight lines one after another; without stages they are WSD's two.

Invariant: a run ends only after a complete last line. The lines are part of the state, so a resumed run follows the
same ones; only a clock by which the budget will be missed bends them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from codeft_training.recipe_groups import ScheduleConfig

FINAL_RATE = 0.05
"""Share of the highest rate that is left at the end (nanochat's final_lr_frac)."""
MIN_DECAY_STEPS = 10
"""Least steps of the last line, however little time a budget leaves."""


class Line(NamedTuple):
    """A part of the run in which the rate follows a straight line."""

    until: float
    """Share of the run that is over at its end."""
    start_rate: float
    end_rate: float


class Bend(NamedTuple):
    """A place at which the clock has bent the present line."""

    step: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A run's lines: where each begins is planned by steps, and moved forward by the clock of a time budget."""

    max_steps: int
    num_warmup_steps: int
    budget_seconds: float
    """0 when steps alone decide."""
    lines: tuple[Line, ...]
    begins: tuple[int, ...]
    """The first step of each line, as far as is known."""
    last_step: int
    """Number of steps the run has, as far as is known."""
    bend: Bend | None = None

    def __post_init__(self) -> None:
        # a checkpoint has lists in place of tuples
        object.__setattr__(self, "lines", tuple(Line(*line) for line in self.lines))
        object.__setattr__(self, "begins", tuple(self.begins))
        object.__setattr__(self, "bend", Bend(*self.bend) if self.bend else None)

    def line(self, step: int) -> int:
        """Return the number of the line on which ``step`` is."""
        return sum(begin <= step for begin in self.begins) - 1

    def planned(self, step: int, seconds: float, seconds_per_step: float) -> Schedule:
        """Return the schedule as the clock wants it before ``step`` (counted from 0).

        Args:
            step: Steps done so far.
            seconds: Time used so far.
            seconds_per_step: Cost of a step, with the work between steps.
        """
        if not self.budget_seconds:
            return self
        schedule = self._entered(step, seconds)
        number = schedule.line(step)
        line, is_last = self.lines[number], number == len(self.lines) - 1
        if line.start_rate == line.end_rate and not is_last:
            return schedule  # its end needs no estimate: the clock will say
        left, is_first = schedule._end(number) - step, step == schedule.begins[number]
        affordable = self._affordable(number, step, seconds, seconds_per_step)
        if not is_first and (left <= MIN_DECAY_STEPS or abs(affordable - left) <= max(0.05 * left, 1)):
            return schedule
        bend = None if is_first else Bend(step, schedule._line_rate(step - 1))
        return replace(schedule._ending(number, step + affordable), bend=bend)

    def rate(self, step: int) -> float:
        """Return the factor on the learning rate of ``step`` (counted from 0), in 0..1."""
        return min((step + 1) / (self.num_warmup_steps + 1), 1.0) * self._line_rate(step)

    def _line_rate(self, step: int) -> float:
        number = self.line(step)
        begin, rate = self.bend or (self.begins[number], self.lines[number].start_rate)
        if begin < self.begins[number]:  # the line before this one was bent
            begin, rate = self.begins[number], self.lines[number].start_rate
        end_rate = self.lines[number].end_rate
        left = 1 - (step - begin + 1) / max(self._end(number) - begin, 1)
        return end_rate + (rate - end_rate) * max(left, 0.0)

    def _entered(self, step: int, seconds: float) -> Schedule:
        """Return the schedule with the line that the clock wants begun, if it is a later one."""
        due = min(sum(seconds >= line.until * self.budget_seconds for line in self.lines), len(self.lines) - 1)
        number = self.line(step)
        if due <= number:
            return self
        begins = tuple(step if number < n <= due else begin for n, begin in enumerate(self.begins))
        return replace(self, begins=begins, bend=None)

    def _end(self, number: int) -> int:
        return self.begins[number + 1] if number + 1 < len(self.begins) else self.last_step

    def _ending(self, number: int, end: int) -> Schedule:
        if number + 1 == len(self.begins):
            return replace(self, last_step=end)
        return replace(self, begins=(*self.begins[: number + 1], end, *self.begins[number + 2 :]))

    def _affordable(self, number: int, step: int, seconds: float, seconds_per_step: float) -> int:
        until, is_last = self.lines[number].until, number == len(self.lines) - 1
        steps = int((until * self.budget_seconds - seconds) / max(seconds_per_step, 1e-9))
        least = MIN_DECAY_STEPS if is_last else 1
        return max(min(max(steps, least), _steps(self.max_steps, until) - step), 1)


def decay_factor(schedule: str, rate: float) -> float:
    """Return the factor on ``weight_decay`` of a step whose learning rate has the factor ``rate`` in 0..1.

    The optimizer takes the product of rate and decay away, so 1 falls with the rate once already.
    """
    if not rate:
        return 1.0  # of nothing
    return {"coupled": 1.0, "constant": 1 / rate, "falling": rate}[schedule]


def build_schedule(config: ScheduleConfig, *, budget_seconds: float = 0.0) -> Schedule:
    """Return the schedule of a run that has not begun."""
    lines = _lines(config)
    return Schedule(
        max_steps=config.max_steps,
        num_warmup_steps=round(config.max_steps * config.warmup_fraction),
        budget_seconds=budget_seconds,
        lines=lines,
        begins=(0, *(_steps(config.max_steps, line.until) for line in lines[:-1])),
        last_step=config.max_steps,
    )


def _lines(config: ScheduleConfig) -> tuple[Line, ...]:
    if not config.stages:
        stable, decay = Line(1 - config.decay_fraction, 1.0, 1.0), Line(1.0, 1.0, FINAL_RATE)
        return (stable, decay) if config.decay_fraction else (Line(1.0, 1.0, 1.0),)
    lines, until = [], 0.0
    for stage in config.stages:
        until += stage.share
        lines.append(Line(until, stage.start_rate, stage.end_rate))
    return (*lines[:-1], lines[-1]._replace(until=1.0))


def _steps(max_steps: int, until: float) -> int:
    return max_steps - round(max_steps * (1 - until))
