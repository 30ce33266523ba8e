"""Evaluation: held-out documents, evaluation texts and samples at fixed steps, and at the end of each stage.

The held-out documents are measured before the first step, too: what a model has learned is the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from codeft_training.measure.evaluation import Entry, Evaluator
from codeft_training.measure.metrics import Metrics
from codeft_training.measure.validation import AVERAGE_PREFIX
from codeft_training.train.callbacks.callback import Callback, Engine


class EvaluationCallback(Callback):
    """Measures the model and records the entries."""

    def __init__(self, evaluator: Evaluator, metrics: Metrics, *, every_steps: int, has_stages: bool) -> None:
        self._evaluator, self._metrics = evaluator, metrics
        self._every_steps, self._has_stages = every_steps, has_stages

    def on_train_begin(self, engine: Engine) -> None:
        for line in self._evaluator.describe():
            self._metrics.log(line)
        if engine.step == 0:
            self._record(engine, self._evaluator.measure_validation)

    def on_step_end(self, engine: Engine) -> None:
        ends = (engine.last_step, *(engine.schedule.begins if self._has_stages else ()))
        if engine.step % self._every_steps and engine.step not in ends:
            return
        bits = self._record(engine, partial(self._evaluator.measure, generate=engine.generator()))
        averaged = engine.averaged()
        averaged_bits = None
        if averaged is not None:
            with averaged:
                averaged_bits = self._record(engine, self._evaluator.measure_average)
        if bits is not None:
            engine.keep_best(bits, averaged_bits, since=self._stage_begin(engine))

    def _stage_begin(self, engine: Engine) -> int:
        # what a stage is for shows on other text than what is held out: the best of the last stage is kept
        schedule = engine.schedule
        return schedule.begins[schedule.line(engine.step - 1)] if self._has_stages else 0

    def _record(self, engine: Engine, measure: Callable[..., Iterator[Entry]]) -> float | None:
        """Record the entries of a measurement and return its bits per byte of held-out documents, if it has any."""
        was_training, bits = engine.model.training, None
        engine.model.eval()
        for entry, line in measure(engine.step, engine.token_nats, engine.eval_rows):
            self._metrics.record(entry, line)
            bits = entry.get("bits_per_byte", entry.get(f"{AVERAGE_PREFIX}bits_per_byte", bits))
        engine.model.train(was_training)
        return bits
