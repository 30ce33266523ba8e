"""Finite check: a number that is not finite is never logged, saved or returned."""

from __future__ import annotations

import math

from codeft_training.train.callbacks.callback import Callback, Engine, StepLog


class FiniteCheck(Callback):
    """Ends the run when loss, gradient or weights are not finite; the last valid checkpoint is kept."""

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def on_log(self, engine: Engine, log: StepLog) -> None:
        numbers = {"loss": log.loss, "grad_norm": log.grad_norm}
        wrong = {name: value for name, value in numbers.items() if value is not None and not math.isfinite(value)}
        if wrong:
            raise FloatingPointError(f"{wrong} at step {engine.step}: not finite; {self._remedy()}")

    def on_save(self, engine: Engine) -> None:
        # a loss that is not finite may come after this save
        self._check_weights(engine)

    def on_train_end(self, engine: Engine) -> None:
        self._check_weights(engine)

    def _check_weights(self, engine: Engine) -> None:
        if not engine.weights_are_finite():
            raise FloatingPointError(f"weights at step {engine.step} are not finite; {self._remedy()}")

    def _remedy(self) -> str:
        return f"lower learning_rate ({self._learning_rate}); the last valid checkpoint is kept"
