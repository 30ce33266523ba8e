"""The settings that transformers' trainers share here, whatever they train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeft_training.train.checkpoints import NUM_KEPT


def micro_batch(per_step: int, most: int) -> tuple[int, int]:
    """Return rows a micro-batch, at most ``most``, and micro-batches a step, which together are ``per_step`` rows."""
    fits = next(size for size in range(min(most, per_step), 0, -1) if per_step % size == 0)
    return fits, per_step // fits


def trainer_settings(folder: Path, *, per_step: int, most: int, seed: int) -> dict[str, Any]:
    """Return the arguments of ``TrainingArguments`` and its kinds that no recipe decides, and those of a micro-batch.

    Args:
        folder: Of the trainer's checkpoints.
        per_step: Rows, or pairs, of a step.
        most: Of them in memory at once.
        seed: Of everything that is drawn.
    """
    import torch

    size, accumulation = micro_batch(per_step, most)
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not torch.cuda.is_available(),
        "save_total_limit": NUM_KEPT,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,  # the collators read columns of their own
    }
