"""TRL's ``DPOTrainer`` on encoded pairs, with our schedule, decay, checkpoints and measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from codeft_training.measure.metrics import Metrics, finite
from codeft_training.model.schedule import Schedule
from codeft_training.preference_recipe import PreferenceRecipe
from codeft_training.train.checkpoints import NUM_KEPT, TRAINER, mark_complete
from codeft_training.train.signals import StopRequest
from codeft_training.train.trl_adapter import OwnSchedule, checkpoint_folder

_LOSSES = {"preference": "sigmoid", "chosen": "sft"}
"""TRL's names."""
_MEASURED = {"margin": "rewards/margins", "accuracy": "rewards/accuracies", "log_likelihood_chosen": "logps/chosen"}
_MEASURED |= {"log_likelihood_rejected": "logps/rejected"}


class PreferenceTrainer(OwnSchedule, DPOTrainer):
    """TRL's trainer on pairs that are token ids already."""

    def __init__(self, schedule: Schedule, **settings: Any) -> None:
        self.schedule = schedule
        super().__init__(**settings)
        self.remove_callback(PrinterCallback)

    def _prepare_dataset(self, dataset: Any, *args: Any, **more: Any) -> Any:
        del args, more  # a prompt and its completions are encoded apart, where TRL would join them
        return dataset

    def create_model_card(self, *args: Any, **more: Any) -> None:
        """Write none: the checkpoint gets our own."""


def preference_arguments(recipe: PreferenceRecipe, folder: Path, *, num_steps: int, batch_pairs: int) -> DPOConfig:
    """Return TRL's settings of a recipe; a step has its pairs, at most ``batch_pairs`` in memory at once."""
    size = next(n for n in range(min(batch_pairs, recipe.pairs_per_step), 0, -1) if recipe.pairs_per_step % n == 0)
    return DPOConfig(
        output_dir=str(folder),
        max_steps=num_steps,
        per_device_train_batch_size=size,
        per_device_eval_batch_size=size,
        gradient_accumulation_steps=recipe.pairs_per_step // size,
        beta=recipe.beta,
        loss_type=[_LOSSES[recipe.loss]],
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        max_length=None,  # a pair that is too long is left out, never cut
        logging_steps=recipe.log_every_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=recipe.save_every_steps,
        save_total_limit=NUM_KEPT,
        report_to="none",
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=True,
        dataloader_num_workers=0,
        remove_unused_columns=False,
    )


class PreferenceReporter(TrainerCallback):
    """Records measurements, marks checkpoints that are complete, and ends the run on a request or a broken number."""

    def __init__(self, metrics: Metrics, stop: StopRequest, recipe: PreferenceRecipe) -> None:
        self._metrics, self._stop, self._recipe = metrics, stop, recipe
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
                f"({self._recipe.learning_rate}); the last valid checkpoint is kept"
            )
        entry = {"step": state.global_step, **numbers, **measurements(logs)}
        parts = ", ".join(f"{name} {value:.4g}" for name, value in entry.items() if name != "step")
        self._metrics.record(entry, f"step {state.global_step}/{state.max_steps}: {parts}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in kwargs["model"].parameters()):
            raise FloatingPointError(f"weights at step {state.global_step} are not finite; lower learning_rate")
        mark_complete(checkpoint_folder(args, state), TRAINER)


def measurements(logs: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return TRL's numbers about pairs under our names.

    ``margin`` is beta times how much more the model's log-likelihood ratio to its base is for the chosen completion, in
    nats; ``accuracy`` the share of pairs in which it is more at all.
    """
    return finite(**{name: logs.get(f"{prefix}{theirs}") for name, theirs in _MEASURED.items()})
