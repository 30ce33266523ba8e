"""What watches a run of TRL's trainer: metrics as they come, validation, whole checkpoints, and reasons to stop."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from codeft_training.checkpoints import mark_complete
from codeft_training.lifetime import StopRequest
from codeft_training.metrics import Metrics
from codeft_training.runs import TrainingRun
from codeft_training.validation import Validation, told


class RunWatch(TrainerCallback):
    """Records metrics, validates in bits per byte, marks checkpoints and stops on request or on NaN."""

    def __init__(self, run: TrainingRun, metrics: Metrics, stop: StopRequest) -> None:
        self._recipe, self._metrics, self._stop = run.recipe, metrics, stop
        self._validation = Validation(run.packed, run.tokenizer, run.recipe.validation_rows)
        self._last = (0, time.monotonic())

    def on_train_begin(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._last = (state.global_step, time.monotonic())

    def on_log(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs.get("logs") or {}
        if "loss" not in logs:
            return
        loss, grad_norm = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise FloatingPointError(
                f"loss {loss} and gradient norm {grad_norm} at step {state.global_step} are not finite; lower "
                f"learning_rate ({self._recipe.learning_rate}); the last whole checkpoint is kept"
            )
        step, now = state.global_step, time.monotonic()
        num_tokens = (step - self._last[0]) * self._recipe.tokens_per_step
        speed = num_tokens / max(now - self._last[1], 1e-9)
        self._last = (step, now)
        rate = float(logs.get("learning_rate", 0.0))
        self._metrics.record(
            {
                "step": step,
                "loss": loss,
                "learning_rate": rate,
                "grad_norm": grad_norm,
                "num_tokens": step * self._recipe.tokens_per_step,
                "tokens_per_second": round(speed, 1),
            },
            f"step {step}/{args.max_steps}: loss {loss:.4f}, rate {rate:.2e}, {speed:,.0f} tokens/s",
        )

    def on_step_end(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._stop.is_set:
            control.should_save = control.should_training_stop = True
        due = state.global_step % self._recipe.validate_every_steps == 0 or state.global_step == args.max_steps
        if due and not self._stop.is_set:
            self._validate(kwargs["model"], state.global_step)

    def on_save(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        mark_complete(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")

    def _validate(self, model: Any, step: int) -> None:
        was_training = model.training
        model.eval()
        measured = self._validation.measure(lambda ids, labels: _token_nats(model, ids, labels), batch_rows=1)
        model.train(was_training)
        if measured:
            self._metrics.record({"step": step, **measured}, f"step {step}: {told(measured)}")


def _token_nats(model: Any, ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids).to(model.device)).logits.float()
        wanted = torch.from_numpy(labels).to(model.device)
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return nats.view(ids.shape).cpu().numpy()
