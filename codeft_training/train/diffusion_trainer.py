"""A trainer of transformers with the objective of diffusion on packed rows; noise depends on seed and step only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from codeft_training.diffusion_recipe import DiffusionRecipe
from codeft_training.model.diffusion import attention_mask, diffusion_loss, draw_noise, hide
from codeft_training.model.schedule import Schedule
from codeft_training.train.trainer_settings import trainer_settings
from codeft_training.train.trl_adapter import OwnSchedule


class DiffusionTrainer(OwnSchedule, Trainer):
    """Hides tokens of each micro-batch and learns them from both sides."""

    def __init__(self, schedule: Schedule, recipe: DiffusionRecipe, mask_id: int, **settings: Any) -> None:
        self.schedule, self._recipe, self._mask_id = schedule, recipe, mask_id
        self._micro_batch = 0
        super().__init__(**settings)
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False  # the loss is a mean already

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a micro-batch, in nats a token that may be hidden."""
        del num_items_in_batch
        ids, labels = inputs["input_ids"], inputs["labels"]
        may_hide = torch.zeros_like(ids, dtype=torch.bool)
        may_hide[:, 1:] = labels[:, 1:] != -100
        generator = self._generator()
        share = draw_noise(len(ids), generator=generator)
        noisy = hide(ids.cpu(), may_hide.cpu(), share, self._mask_id, generator=generator).to(ids.device)
        openness = self._recipe.openness(self.state.global_step)
        mask = attention_mask(ids.shape[1], openness, generator=generator).to(ids.device)
        outputs = model(input_ids=noisy, attention_mask=mask.expand(len(ids), -1, -1, -1), use_cache=False)
        loss = diffusion_loss(outputs.logits, ids, noisy, self._mask_id, share) / may_hide.sum().clamp(min=1)
        return (loss, outputs) if return_outputs else loss

    def _generator(self) -> torch.Generator:
        """Return random numbers of their own for each micro-batch of each step, also in a resumed run."""
        number = self._micro_batch % self.args.gradient_accumulation_steps
        self._micro_batch += 1
        parts = np.random.SeedSequence([self._recipe.seed, self.state.global_step, number])
        return torch.Generator().manual_seed(int(parts.generate_state(1, np.uint64)[0]) // 2)


def diffusion_arguments(recipe: DiffusionRecipe, folder: Path, batch_rows: int) -> TrainingArguments:
    """Return the trainer's settings of a recipe; a step has its rows, at most ``batch_rows`` in memory at once."""
    return TrainingArguments(
        **trainer_settings(folder, per_step=recipe.rows_per_step, most=batch_rows, seed=recipe.seed),
        max_steps=recipe.max_steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        logging_steps=recipe.log_every_steps,
        adam_beta2=0.95,
        save_strategy="steps",
        save_steps=recipe.save_every_steps,
    )
