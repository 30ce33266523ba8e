"""The habits of a run by a trainer of transformers that has no validation of ours: metrics, checkpoints, the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from codeft_training.measure.metrics import Metrics
from codeft_training.train.checkpoints import TRAINER, mark_complete
from codeft_training.train.signals import StopRequest
from codeft_training.train.trl_adapter import checkpoint_folder


class RunReporter(TrainerCallback):
    """Records measurements, marks checkpoints that are complete, and ends the run on a request or a broken number."""

    def __init__(
        self,
        metrics: Metrics,
        stop: StopRequest,
        *,
        learning_rate: float,
        measure: Callable[[Mapping[str, Any]], dict[str, float]] = lambda logs: {},
    ) -> None:
        self._metrics, self._stop, self._measure, self._learning_rate = metrics, stop, measure, learning_rate
        self.is_stopped = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step:
            self._metrics.log(f"resuming from checkpoint-{state.global_step}")
        self._metrics.rewind(state.global_step or -1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_log = control.should_log or state.global_step >= state.max_steps
        if self._stop.is_set:
            control.should_save = control.should_training_stop = self.is_stopped = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs: Mapping[str, Any] = kwargs.get("logs") or {}
        if "loss" not in logs:
            return
        numbers = {name: float(logs[name]) for name in ("loss", "grad_norm", "learning_rate") if name in logs}
        if broken := {name: value for name, value in numbers.items() if not math.isfinite(value)}:
            raise FloatingPointError(
                f"{broken} at step {state.global_step}: not finite; lower learning_rate "
                f"({self._learning_rate}); the last valid checkpoint is kept"
            )
        entry = {"step": state.global_step, **numbers, **self._measure(logs)}
        parts = ", ".join(f"{name} {value:.4g}" for name, value in entry.items() if name != "step")
        self._metrics.record(entry, f"step {state.global_step}/{state.max_steps}: {parts}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in kwargs["model"].parameters()):
            raise FloatingPointError(f"weights at step {state.global_step} are not finite; lower learning_rate")
        mark_complete(checkpoint_folder(args, state), TRAINER)
