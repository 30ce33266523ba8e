"""Trains a model on packed rows with TRL's ``SFTTrainer``; leaves a checkpoint folder that ``from_pretrained`` loads.

Invariant: on one CPU the final weights depend on recipe, tokenizer and packed rows only; killing the process at any
moment and running it again changes nothing. A run that is finished is not run again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft_training.checkpoints import newest_complete
from codeft_training.corpus import file_hash, folder_hash, write_atomically
from codeft_training.lifetime import StopRequest
from codeft_training.model_card import model_card
from codeft_training.recipes import Recipe
from codeft_training.rows import PackedRows, row_order
from codeft_training.tokenizer import END_OF_TEXT

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

STOPPED_EXIT_CODE = 143
_FREE_SPACE_FACTOR = 8
"""A run keeps up to two trainer checkpoints (weights and two moments each, fp32) and the final weights."""

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """Where a run reads and writes, and what it computes."""

    packed: PackedRows
    tokenizer: Path
    output: Path
    recipe: Recipe
    lineage: dict[str, Any]
    """Of the corpus, for the model card: sources, revisions, licenses, drops."""

    @property
    def identity(self) -> str:
        """Names the result: what was trained how on what."""
        tokenizer = file_hash(self.tokenizer / "tokenizer.json")
        return f"{self.recipe.hash}-{self.packed.manifest()['content_hash'][:16]}-{tokenizer[:8]}"

    @property
    def work(self) -> Path:
        """Folder of the trainer's own checkpoints and metrics."""
        return self.output / "runs" / self.identity


class Stopped(Exception):  # noqa: N818  an outcome, not an error
    """The run was asked to stop and has saved its state."""


def train(run: TrainingRun, log: Log) -> dict[str, Any]:
    """Train, or resume, or return the finished result.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        ValueError: the inputs do not fit together, or are damaged.
        FloatingPointError: the loss is no longer a number.
        OSError: the disk is full; the last whole checkpoint is kept.
    """
    finished = _finished(run)
    if finished is not None:
        log(f"run {run.identity} is finished: nothing to do")
        return finished
    _check(run)
    run.work.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    model = _model(run.recipe, run.packed.manifest()["vocab_size"])
    losses = _fit(run, model, log)
    seconds = time.monotonic() - start
    return _finish(run, model, losses, seconds)


def _finished(run: TrainingRun) -> dict[str, Any] | None:
    path = run.output / "result.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_text())
    weights = run.output / "checkpoint" / "model.safetensors"
    whole = weights.is_file() and file_hash(weights) == result["weights_hash"]
    return result if whole and result["identity"] == run.identity else None


def _check(run: TrainingRun) -> None:
    run.packed.verify()
    manifest = run.packed.manifest()
    if manifest["context_tokens"] != run.recipe.context_tokens:
        raise ValueError(
            f"rows were packed at {manifest['context_tokens']} tokens, recipe {run.recipe.name!r} wants "
            f"{run.recipe.context_tokens}; materialize corpus/packed with this recipe"
        )
    run.output.mkdir(parents=True, exist_ok=True)
    # per parameter 4 bytes of weight; embeddings and layers estimated from the shape
    recipe = run.recipe
    per_layer = 4 * recipe.hidden_size**2 + 3 * recipe.hidden_size * recipe.intermediate_size
    needed = 4 * _FREE_SPACE_FACTOR * (recipe.vocab_size * recipe.hidden_size + recipe.num_layers * per_layer)
    free = shutil.disk_usage(run.output).free
    if free < needed:
        raise OSError(f"{run.output} has {free:,} bytes free, the run needs about {needed:,}; free space first")


def _model(recipe: Recipe, vocab_size: int) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM, set_seed
    from transformers.utils import logging

    logging.disable_progress_bar()  # bars fill a log that nobody watches as it moves
    set_seed(recipe.seed)
    if recipe.base_model:
        return AutoModelForCausalLM.from_pretrained(recipe.base_model, dtype=torch.float32)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        num_key_value_heads=recipe.num_kv_heads,
        head_dim=recipe.hidden_size // recipe.num_heads,
        intermediate_size=recipe.intermediate_size,
        max_position_embeddings=recipe.context_tokens,
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return Qwen3ForCausalLM(config)


def _dataset(run: TrainingRun) -> Dataset:
    """Return the rows in the order the run reads them, with -100 where a token is not trained on."""
    from datasets import Dataset

    recipe = run.recipe
    tokens, in_loss = run.packed.tokens("train"), run.packed.in_loss("train")
    wanted = recipe.max_steps * recipe.batch_rows * recipe.accumulation_steps
    order = row_order(len(tokens), wanted, recipe.seed)
    chosen = tokens[order].astype(np.int64)
    labels = np.where(in_loss[order] == 1, chosen, -100)
    return Dataset.from_dict({"input_ids": list(chosen), "labels": list(labels)})


def _fit(run: TrainingRun, model: PreTrainedModel, log: Log) -> list[dict[str, float]]:
    from transformers import AutoTokenizer
    from trl.trainer.sft_trainer import SFTTrainer

    from codeft_training.callbacks import RunWatch

    stop = StopRequest()
    stop.install()
    tokenizer = AutoTokenizer.from_pretrained(run.tokenizer)
    watch = RunWatch(run.packed, run.tokenizer, run.work / "metrics.jsonl", run.recipe, stop, log)
    trainer = SFTTrainer(
        model=model,
        args=_arguments(run),
        train_dataset=_dataset(run),
        processing_class=tokenizer,
        callbacks=[watch],
    )
    resume = newest_complete(run.work)
    if resume is not None:
        log(f"resuming from {resume.name}")
    watch.rewind(int(resume.name.rsplit("-", 1)[1]) if resume else 0)
    # never `True`: the trainer would take the newest folder by name, torn or not
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if stop.is_set:
        raise Stopped(f"stopped at step {trainer.state.global_step} of {run.recipe.max_steps}; the state is saved")
    return watch.metrics()


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
        lr_scheduler_kwargs={"num_decay_steps": decay_steps, "min_lr_ratio": 0.1},
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


def _finish(
    run: TrainingRun, model: PreTrainedModel, metrics: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    """Save the checkpoint folder beside the old one, swap them, and write ``result.json`` last."""
    from transformers import AutoTokenizer

    new, final = run.output / ".tmp-checkpoint", run.output / "checkpoint"
    shutil.rmtree(new, ignore_errors=True)
    model.generation_config.eos_token_id = AutoTokenizer.from_pretrained(run.tokenizer).convert_tokens_to_ids(
        END_OF_TEXT
    )
    model.save_pretrained(new)
    AutoTokenizer.from_pretrained(run.tokenizer).save_pretrained(new)
    result = _result(run, model, metrics, seconds) | {"weights_hash": file_hash(new / "model.safetensors")}
    write_atomically(new / "README.md", model_card(result, run.lineage).encode())
    result["content_hash"] = folder_hash(new, sorted(p.name for p in new.iterdir() if p.suffix != ".md"))
    (run.output / "result.json").unlink(missing_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    new.rename(final)
    shutil.copyfile(run.work / "metrics.jsonl", run.output / "metrics.jsonl")
    write_atomically(run.output / "result.json", json.dumps(result, indent=1, sort_keys=True).encode())
    return result


def _result(
    run: TrainingRun, model: PreTrainedModel, metrics: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    import torch
    import transformers
    import trl

    losses = [entry["loss"] for entry in metrics if "loss" in entry]
    validations = [entry for entry in metrics if "bits_per_byte" in entry]
    packed = run.packed.manifest()
    return {
        "identity": run.identity,
        "recipe": asdict(run.recipe),
        "recipe_hash": run.recipe.hash,
        "corpus_content_hash": packed["corpus_content_hash"],
        "packed_content_hash": packed["content_hash"],
        "num_parameters": model.num_parameters(),
        "num_tokens_seen": run.recipe.max_steps * run.recipe.tokens_per_step,
        "num_tokens_in_corpus": packed["splits"]["train"]["num_tokens"],
        "first_loss": losses[0] if losses else None,
        "final_loss": losses[-1] if losses else None,
        "validation": {k: v for k, v in validations[-1].items() if k != "step"} if validations else {},
        "seconds": round(seconds, 2),
        "environment": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu x {os.cpu_count()}",
        },
    }
