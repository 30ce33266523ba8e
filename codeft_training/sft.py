"""Fine-tunes a Hub model on packed rows with TRL's ``SFTTrainer``; its checkpoints count only when marked whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from codeft_training.checkpoints import newest_complete, step_of
from codeft_training.lifetime import StopRequest
from codeft_training.metrics import Metrics
from codeft_training.pipes import Reporter
from codeft_training.runs import Stopped, TrainingRun
from codeft_training.schedule import FINAL_RATE

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


def fine_tune(run: TrainingRun, model: PreTrainedModel, reporter: Reporter) -> list[dict[str, Any]]:
    """Train ``model`` in place and return what was measured.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        FloatingPointError: the loss is no longer a number.
        OSError: the disk is full; the last whole checkpoint is kept.
    """
    from transformers import AutoTokenizer
    from trl.trainer.sft_trainer import SFTTrainer

    from codeft_training.callbacks import RunWatch

    stop = StopRequest()
    stop.install()
    metrics = Metrics(run.work / "metrics.jsonl", reporter)
    trainer = SFTTrainer(
        model=model,
        args=_arguments(run),
        train_dataset=_dataset(run),
        processing_class=AutoTokenizer.from_pretrained(run.tokenizer),
        callbacks=[RunWatch(run, metrics, stop)],
    )
    resume = newest_complete(run.work)
    if resume is not None:
        reporter.log(f"resuming from {resume.name}")
    metrics.rewind(step_of(resume) if resume else 0)
    # never `True`: the trainer would take the newest folder by name, torn or not
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if stop.is_set:
        raise Stopped(f"stopped at step {trainer.state.global_step} of {run.recipe.max_steps}; the state is saved")
    return metrics.entries()


def _dataset(run: TrainingRun) -> Dataset:
    """Return the rows in the order the run reads them, with -100 where a token is not trained on."""
    from datasets import Dataset

    recipe = run.recipe
    tokens, in_loss = run.packed.tokens("train"), run.packed.in_loss("train")
    wanted = recipe.max_steps * recipe.batch_rows * recipe.accumulation_steps
    order = run.packed.order(wanted, recipe.seed)
    chosen = tokens[order].astype(np.int64)
    labels = np.where(in_loss[order] == 1, chosen, -100)
    return Dataset.from_dict({"input_ids": list(chosen), "labels": list(labels)})


def _arguments(run: TrainingRun) -> Any:
    import torch
    from trl.trainer.sft_config import SFTConfig

    recipe = run.recipe
    decay_steps = round(recipe.max_steps * recipe.decay_fraction)
    return SFTConfig(
        output_dir=str(run.work),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_rows,
        gradient_accumulation_steps=recipe.accumulation_steps,
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
