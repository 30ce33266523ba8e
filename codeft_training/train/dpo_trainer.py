"""TRL's ``DPOTrainer`` on encoded pairs, with our schedule, decay, checkpoints and measurements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from codeft_training.measure.metrics import finite
from codeft_training.model.schedule import Schedule
from codeft_training.preference_recipe import PreferenceRecipe
from codeft_training.train.trainer_settings import micro_batch, trainer_settings
from codeft_training.train.trl_adapter import OwnSchedule

_LOSSES = {"preference": ["sigmoid"], "chosen": ["sft"], "anchored": ["sigmoid", "sft"]}
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
    return DPOConfig(
        **trainer_settings(folder, per_step=recipe.pairs_per_step, most=batch_pairs, seed=recipe.seed),
        max_steps=num_steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        logging_steps=recipe.log_every_steps,
        per_device_eval_batch_size=micro_batch(recipe.pairs_per_step, batch_pairs)[0],
        beta=recipe.beta,
        loss_type=_LOSSES[recipe.loss],
        gradient_checkpointing=False,
        max_length=None,  # a pair that is too long is left out, never cut
        save_strategy="steps",
        save_steps=recipe.save_every_steps,
        dataloader_num_workers=0,
    )


def measurements(logs: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return TRL's numbers about pairs under our names.

    ``margin`` is beta times how much more the model's log-likelihood ratio to its base is for the chosen completion, in
    nats; ``accuracy`` the share of pairs in which it is more at all.
    """
    return finite(**{name: logs.get(f"{prefix}{theirs}") for name, theirs in _MEASURED.items()})
