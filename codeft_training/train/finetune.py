"""Fine-tunes a Hub model on packed rows with TRL's ``SFTTrainer``; its checkpoints count only when marked complete.

With ``lora_rank`` only low-rank additions to the linear layers are trained, and merged into the weights at the end: the
result is a checkpoint like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft_training.data.batches import IGNORE_INDEX
from codeft_training.data.packed_rows import PackedRows
from codeft_training.model.schedule import FINAL_RATE
from codeft_training.recipe import DataConfig, FinetuneRecipe, FinetuningConfig
from codeft_training.run_spec import Stopped
from codeft_training.train.callbacks.callback import Callback
from codeft_training.train.checkpoints import ADAPTER, NUM_KEPT, TRAINER, latest_valid

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

LORA_SCALE = 2
"""``lora_alpha`` as a multiple of the rank: the usual choice (arXiv 2405.09673, section 6)."""


class Finetuner:
    """TRL's trainer, guarded: resumed from valid checkpoints only, and retried with smaller micro-batches."""

    def __init__(
        self, recipe: FinetuneRecipe, packed: PackedRows, *, tokenizer: Path, folder: Path, callbacks: Callback
    ) -> None:
        self._recipe, self._packed, self._tokenizer = recipe, packed, tokenizer
        self._folder, self._callbacks = folder, callbacks

    def train(self, make_model: Callable[[], PreTrainedModel]) -> PreTrainedModel:
        """Train the model that ``make_model`` returns, and return it.

        When memory runs out, it goes on from the latest valid checkpoint with half the rows a micro-batch and the same
        global batch.

        Raises:
            Stopped: SIGTERM came; the state is saved and the next call goes on from there.
            FloatingPointError: loss, gradient or weights are not finite.
            OSError: the disk is full, or a single row does not fit; the last valid checkpoint is kept.
            ValueError: the recipe wants LoRA and ``peft`` is not installed.
        """
        from codeft_training.train.oom import retry_line, retry_with_smaller_batch

        require_peft(self._recipe)
        model, _ = retry_with_smaller_batch(
            lambda rows: self._attempt(make_model(), rows),
            self._recipe.data.batch_rows,
            lambda rows: self._callbacks.on_message(retry_line(rows)),
        )
        return model

    def _attempt(self, model: PreTrainedModel, rows: int) -> PreTrainedModel:
        from transformers import AutoTokenizer, PrinterCallback

        from codeft_training.train.trl_adapter import GuardedTrainer, TrlAdapter

        recipe, lora_rank = self._recipe, self._recipe.finetuning.lora_rank
        adapter = TrlAdapter(
            self._callbacks, checkpoint_files=ADAPTER if lora_rank else TRAINER, bf16=recipe.precision.bf16
        )
        trainer = GuardedTrainer(
            model=model,
            args=_arguments(recipe, self._folder, rows),
            train_dataset=_dataset(self._packed, recipe.data, recipe.schedule.max_steps),
            processing_class=AutoTokenizer.from_pretrained(self._tokenizer),
            callbacks=[adapter],
            peft_config=_lora_config(recipe.finetuning),
        )
        trainer.remove_callback(PrinterCallback)  # our own log lines have the same numbers
        resume = latest_valid(self._folder)
        # never `True`: the trainer would take the newest folder by name, complete or not
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        if adapter.is_stopped:
            raise Stopped(f"stopped at step {adapter.step} of {adapter.last_step}; the state is saved")
        trained: Any = trainer.model
        return trained.merge_and_unload() if lora_rank else trained


def require_peft(recipe: FinetuneRecipe) -> None:
    """Refuse a recipe that wants LoRA where its library is not installed.

    Raises:
        ValueError: ``peft`` is not installed.
    """
    if recipe.finetuning.lora_rank and find_spec("peft") is None:
        raise ValueError(
            f"recipe {recipe.name!r}: lora_rank = {recipe.finetuning.lora_rank} needs peft, which is not installed; "
            f"pip install 'codeft[lora]', or set lora_rank=0 to train all weights"
        )


def _lora_config(config: FinetuningConfig) -> Any:
    rank = config.lora_rank
    if not rank:
        return None
    from peft import LoraConfig

    # every linear layer: with only some of them LoRA falls behind training all weights (QLoRA, arXiv 2305.14314)
    return LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def _dataset(packed: PackedRows, data: DataConfig, max_steps: int) -> Dataset:
    """Return the rows in the order of the run, with -100 where a token is not in the loss."""
    from datasets import Dataset

    num_rows = max_steps * data.rows_per_step
    order = packed.order(data.seed)
    rows = order.rows(0, num_rows, order.annealing_begin(num_rows))
    tokens = packed.tokens("train")[rows].astype(np.int64)
    labels = np.where(packed.loss_mask("train")[rows] == 1, tokens, IGNORE_INDEX)
    return Dataset.from_dict({"input_ids": list(tokens), "labels": list(labels)})


def micro_batch(data: DataConfig, rows: int) -> tuple[int, int]:
    """Return rows a micro-batch, at most ``rows``, and micro-batches a step, with the recipe's global batch."""
    total = data.rows_per_step
    fits = next(size for size in range(rows, 0, -1) if total % size == 0)
    return fits, total // fits


def _arguments(recipe: FinetuneRecipe, folder: Path, rows: int) -> Any:
    import torch
    from trl.trainer.sft_config import SFTConfig

    schedule, optimization = recipe.schedule, recipe.optimization
    decay_steps = round(schedule.max_steps * schedule.decay_fraction)
    size, accumulation = micro_batch(recipe.data, rows)
    return SFTConfig(
        output_dir=str(folder),
        max_steps=schedule.max_steps,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        learning_rate=optimization.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": decay_steps, "min_lr_ratio": FINAL_RATE},
        warmup_steps=round(schedule.max_steps * schedule.warmup_fraction),
        weight_decay=optimization.weight_decay,
        adam_beta2=optimization.adam_beta_2,
        max_grad_norm=optimization.max_grad_norm,
        bf16=recipe.precision.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        packing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        logging_steps=recipe.monitor.log_every_steps,
        logging_nan_inf_filter=False,
        save_strategy="no",  # CheckpointCallback decides
        save_total_limit=NUM_KEPT,
        report_to="none",
        seed=recipe.data.seed,
        data_seed=recipe.data.seed,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
