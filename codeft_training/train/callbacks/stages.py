"""Stages: an entry in the metrics at the first step of each, by which the result knows the stages that ran."""

from __future__ import annotations

from collections.abc import Sequence

from codeft_training.measure.metrics import Metrics
from codeft_training.recipe_stages import Stage
from codeft_training.train.callbacks.callback import Callback, Engine


class StageCallback(Callback):
    """Records the beginning of each stage; ``step`` is its first, counted from 1 as in all entries."""

    def __init__(self, metrics: Metrics, stages: Sequence[Stage]) -> None:
        self._metrics, self._stages = metrics, stages
        self._number = -1

    def on_train_begin(self, engine: Engine) -> None:
        self._number = engine.schedule.line(engine.step - 1)

    def on_step_end(self, engine: Engine) -> None:
        number = engine.schedule.line(engine.step - 1)
        if number == self._number:
            return
        self._number, stage = number, self._stages[number]
        entry = {"step": engine.step, "stage": stage.name}
        self._metrics.record(entry, f"step {engine.step}: stage {stage.name} has begun, {stage.describe_mixture()}")
