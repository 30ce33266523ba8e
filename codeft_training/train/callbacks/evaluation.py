"""Evaluation: held-out documents, evaluation texts and samples every ``validate_every_steps``, and after the last."""

from __future__ import annotations

from codeft_training.measure.evaluation import Evaluator
from codeft_training.measure.metrics import Metrics
from codeft_training.train.callbacks.callback import Callback, Engine


class EvaluationCallback(Callback):
    """Measures the model and records the entries."""

    def __init__(self, evaluator: Evaluator, metrics: Metrics, *, every_steps: int) -> None:
        self._evaluator, self._metrics, self._every_steps = evaluator, metrics, every_steps

    def on_train_begin(self, engine: Engine) -> None:
        for line in self._evaluator.describe():
            self._metrics.log(line)

    def on_step_end(self, engine: Engine) -> None:
        if engine.step % self._every_steps == 0 or engine.step == engine.last_step:
            self._evaluate(engine)

    def _evaluate(self, engine: Engine) -> None:
        was_training = engine.model.training
        engine.model.eval()
        measured = self._evaluator.measure(engine.step, engine.token_nats, engine.eval_rows, engine.generator())
        for entry, line in measured:
            self._metrics.record(entry, line)
        engine.model.train(was_training)
