"""Fine-tunes a Hub model on packed rows with TRL's ``SFTTrainer``; its checkpoints count only when marked whole.

With ``lora_rank`` only low-rank additions to the linear layers are trained, and merged into the weights at the end: the
result is a checkpoint like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft_training.measure.metrics import Metrics
from codeft_training.measure.throughput import compute_of
from codeft_training.model.schedule import FINAL_RATE
from codeft_training.pipes import Reporter
from codeft_training.recipes import Recipe
from codeft_training.run_spec import Stopped, TrainingRun
from codeft_training.train.checkpoints import newest_complete, step_of
from codeft_training.train.signals import StopRequest

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

LORA_SCALE = 2
"""``lora_alpha`` as a multiple of the rank: the usual choice (arXiv 2405.09673, section 6)."""

Trained = tuple["PreTrainedModel", list[dict[str, Any]]]


def fine_tune(
    run: TrainingRun, make_model: Callable[[], PreTrainedModel], reporter: Reporter, stop: StopRequest
) -> Trained:
    """Train the model that ``make_model`` returns; return it with what was measured.

    When memory runs out, it goes on from the last whole checkpoint with half the rows a micro-batch and the same global
    batch.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        FloatingPointError: the loss is no longer a number.
        OSError: the disk is full, or a single row does not fit; the last whole checkpoint is kept.
        ValueError: the recipe wants LoRA and ``peft`` is not installed.
    """
    from codeft_training.train.oom import fitting

    require_peft(run.recipe)
    metrics = Metrics(run.work, reporter)

    def start_anew(rows: int) -> None:
        reporter.log(f"out of memory: {rows} rows a micro-batch from here on, the global batch stays")

    try:
        model, _ = fitting(
            lambda rows: _attempt(run, make_model(), metrics, stop, rows), run.recipe.batch_rows, start_anew
        )
    finally:
        metrics.close()
    return model, metrics.entries()


def require_peft(recipe: Recipe) -> None:
    """Refuse a recipe that wants LoRA where its library is not installed.

    Raises:
        ValueError: ``peft`` is not installed.
    """
    if recipe.lora_rank and find_spec("peft") is None:
        raise ValueError(
            f"recipe {recipe.name!r}: lora_rank = {recipe.lora_rank} needs peft, which is not installed; "
            f"pip install 'codeft[lora]', or set lora_rank=0 to train all weights"
        )


def _attempt(
    run: TrainingRun, model: PreTrainedModel, metrics: Metrics, stop: StopRequest, rows: int
) -> PreTrainedModel:
    from transformers import AutoTokenizer, PrinterCallback

    from codeft_training.train.callbacks import GuardedTrainer, RunWatch

    watch = RunWatch(run, metrics, stop, compute_of(model.config, run.recipe.context_tokens))
    trainer = GuardedTrainer(
        model=model,
        args=_arguments(run, rows),
        train_dataset=_dataset(run),
        processing_class=AutoTokenizer.from_pretrained(run.tokenizer),
        callbacks=[watch],
        peft_config=_lora(run.recipe),
    )
    trainer.remove_callback(PrinterCallback)  # our own lines say it
    resume = newest_complete(run.work)
    metrics.rewind(step_of(resume) if resume else 0, resumed=resume is not None)
    watch.tell_probe()
    # never `True`: the trainer would take the newest folder by name, torn or not
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if stop.is_set:
        raise Stopped(f"stopped at step {trainer.state.global_step} of {run.recipe.max_steps}; the state is saved")
    trained: Any = trainer.model
    return trained.merge_and_unload() if run.recipe.lora_rank else trained


def _lora(recipe: Recipe) -> Any:
    if not recipe.lora_rank:
        return None
    from peft import LoraConfig

    # every linear layer: with only some of them LoRA falls behind training all weights (QLoRA, arXiv 2305.14314)
    return LoraConfig(
        r=recipe.lora_rank, lora_alpha=LORA_SCALE * recipe.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _dataset(run: TrainingRun) -> Dataset:
    """Return the rows in the order the run reads them, with -100 where a token is not trained on."""
    from datasets import Dataset

    recipe = run.recipe
    tokens, in_loss = run.packed.tokens("train"), run.packed.in_loss("train")
    wanted = recipe.max_steps * recipe.batch_rows * recipe.accumulation_steps
    order = run.packed.order(recipe.seed)
    rows = order.rows(0, wanted, order.annealing_begin(wanted))
    chosen = tokens[rows].astype(np.int64)
    labels = np.where(in_loss[rows] == 1, chosen, -100)
    return Dataset.from_dict({"input_ids": list(chosen), "labels": list(labels)})


def micro_batch(recipe: Recipe, rows: int) -> tuple[int, int]:
    """Return rows a micro-batch, at most ``rows``, and micro-batches a step, with the recipe's global batch."""
    total = recipe.batch_rows * recipe.accumulation_steps
    fits = next(size for size in range(rows, 0, -1) if total % size == 0)
    return fits, total // fits


def _arguments(run: TrainingRun, rows: int) -> Any:
    import torch
    from trl.trainer.sft_config import SFTConfig

    recipe = run.recipe
    decay_steps = round(recipe.max_steps * recipe.decay_fraction)
    size, accumulation = micro_batch(recipe, rows)
    return SFTConfig(
        output_dir=str(run.work),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": decay_steps, "min_lr_ratio": FINAL_RATE},
        warmup_steps=round(recipe.max_steps * recipe.warmup_fraction),
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.adam_beta_2,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        packing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        logging_steps=recipe.log_every_steps,
        logging_nan_inf_filter=False,
        save_steps=recipe.save_every_steps,
        save_total_limit=2,
        report_to="none",
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
