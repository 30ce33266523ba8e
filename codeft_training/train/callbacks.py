"""What watches a run of TRL's trainer: metrics as they come, validation, whole checkpoints, and reasons to stop."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.sft_trainer import SFTTrainer

from codeft_training.measure.evaluation import HeldOut
from codeft_training.measure.metrics import Metrics, step_line
from codeft_training.measure.samples import greedy
from codeft_training.measure.throughput import Compute
from codeft_training.run_spec import TrainingRun
from codeft_training.train.checkpoints import ADAPTER, TRAINER, mark_complete, writing
from codeft_training.train.signals import StopRequest


class GuardedTrainer(SFTTrainer):
    """TRL's trainer, whose failure to write a checkpoint says what failed and what to do."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with writing(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)


class RunWatch(TrainerCallback):
    """Records metrics, validates in bits per byte, marks checkpoints and stops on request or on NaN."""

    def __init__(self, run: TrainingRun, metrics: Metrics, stop: StopRequest, compute: Compute) -> None:
        self._recipe, self._metrics, self._stop, self._compute = run.recipe, metrics, stop, compute
        self._held_out = HeldOut(run)
        self._last = (0, time.monotonic())

    def tell_probe(self) -> None:
        """Say in the log what the probe reads, where there is one."""
        for line in self._held_out.told():
            self._metrics.say(line)

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
        found = {name: float(logs[name]) for name in ("loss", "grad_norm") if logs.get(name) is not None}
        if not all(math.isfinite(value) for value in found.values()):
            raise FloatingPointError(
                f"{found} at step {state.global_step}: not finite; lower "
                f"learning_rate ({self._recipe.learning_rate}); the last whole checkpoint is kept"
            )
        step, now = state.global_step, time.monotonic()
        num_tokens = (step - self._last[0]) * self._recipe.tokens_per_step
        speed = num_tokens / max(now - self._last[1], 1e-9)
        self._last = (step, now)
        entry = {
            "step": step,
            **found,
            "learning_rate": float(logs["learning_rate"]),
            **self._compute.entry(speed),
            "num_tokens": step * self._recipe.tokens_per_step,
        }
        self._metrics.record(entry, step_line(entry, args.max_steps))

    def on_step_end(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._stop.is_set:
            control.should_save = control.should_training_stop = True
        due = self._held_out.is_due(state.global_step) or state.global_step == args.max_steps
        if due and not self._stop.is_set:
            self._validate(kwargs["model"], state.global_step)

    def on_save(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        finite = all(bool(parameter.isfinite().all()) for parameter in kwargs["model"].parameters())
        if not finite:  # a loss that is no number may come later than this save
            raise FloatingPointError(
                f"weights at step {state.global_step} are not finite; lower learning_rate "
                f"({self._recipe.learning_rate}); the last whole checkpoint is kept"
            )
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        with writing(folder):
            mark_complete(folder, ADAPTER if self._recipe.lora_rank else TRAINER)

    def _validate(self, model: Any, step: int) -> None:
        was_training = model.training
        model.eval()
        write = greedy(model, bf16=self._recipe.bf16)
        for entry, line in self._held_out.measure(
            step, lambda ids, labels: _token_nats(model, ids, labels), batch_rows=1, write=write
        ):
            self._metrics.record(entry, line)
        model.train(was_training)


def _token_nats(model: Any, ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids).to(model.device)).logits.float()
        wanted = torch.from_numpy(labels).to(model.device)
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return nats.view(ids.shape).cpu().numpy()
