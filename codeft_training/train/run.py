"""Trains a model on packed rows; leaves a checkpoint folder that ``from_pretrained`` loads.

A recipe without a base model trains from scratch by our own step loop; one with a base fine-tunes it by TRL.

Invariant: on one CPU the final weights depend on recipe, tokenizer and packed rows only; killing the process at any
moment and running it again changes nothing. A run that is finished is not run again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_training.data.corpus import file_hash, folder_hash, write_atomically
from codeft_training.data.tokenizer import END_OF_TEXT
from codeft_training.export.model_card import model_card
from codeft_training.measure.eval_texts import PREFIX
from codeft_training.measure.metrics import FILE
from codeft_training.pipes import Reporter
from codeft_training.recipes import Recipe
from codeft_training.run_spec import TrainingRun
from codeft_training.train.checkpoints import writing
from codeft_training.train.signals import StopRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FREE_SPACE_FACTOR = 8
"""A run keeps up to three states (weights and up to two moments each, fp32) and the final weights."""


def train(run: TrainingRun, reporter: Reporter, stop: StopRequest | None = None) -> dict[str, Any] | None:
    """Train, or resume, or return the finished result; None in a process that only helps another to train.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        ValueError: the inputs do not fit together, or are damaged.
        FloatingPointError: the loss is no longer a number.
        OSError: the disk is full; the last whole checkpoint is kept.
    """
    stop = stop or StopRequest().install()
    finished = _finished(run)
    if finished is not None:
        reporter.log(f"run {run.identity} is finished: nothing to do")
        return finished
    _check(run)
    run.work.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()

    def make_model() -> PreTrainedModel:
        return initial_model(run.recipe, run.packed.manifest()["vocab_size"])

    is_helper = os.environ.get("RANK", "0") != "0"
    if run.recipe.base_model:
        from codeft_training.train.finetune import fine_tune

        if "RANK" in os.environ:
            raise ValueError("a base model is fine-tuned by one process; leave --processes at 1")
        model, metrics = fine_tune(run, make_model, reporter, stop)
    else:
        model, metrics = _pretrain(run, make_model(), reporter, stop)
    return None if is_helper else _finish(run, model, metrics, time.monotonic() - start)


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


def initial_model(recipe: Recipe, vocab_size: int) -> PreTrainedModel:
    """Return the model a run begins with: the base, or weights drawn from the seed in the recipe's shape."""
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


def _pretrain(
    run: TrainingRun, model: PreTrainedModel, reporter: Reporter, stop: StopRequest
) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    from transformers import Qwen3ForCausalLM

    from codeft_training.model.distributed import join, leave
    from codeft_training.train.pretrain import pretrain

    assert isinstance(model, Qwen3ForCausalLM), "made in this shape above"
    try:
        return pretrain(run, model, join(), reporter, stop)
    finally:
        leave()


def _finish(
    run: TrainingRun, model: PreTrainedModel, metrics: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    """Save the checkpoint folder beside the old one, swap them, and write ``result.json`` last."""
    new, final = run.output / ".tmp-checkpoint", run.output / "checkpoint"
    shutil.rmtree(new, ignore_errors=True)
    with writing(final, new):
        result = _save(run, model, new, metrics, seconds)
        (run.output / "result.json").unlink(missing_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        new.rename(final)
        shutil.copyfile(run.work / FILE, run.output / FILE)
        write_atomically(run.output / "result.json", json.dumps(result, indent=1, sort_keys=True).encode())
    return result


def _save(
    run: TrainingRun, model: PreTrainedModel, new: Path, metrics: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    from transformers import AutoTokenizer

    model.generation_config.eos_token_id = AutoTokenizer.from_pretrained(run.tokenizer).convert_tokens_to_ids(
        END_OF_TEXT
    )
    model.save_pretrained(new)
    AutoTokenizer.from_pretrained(run.tokenizer).save_pretrained(new)
    result = _result(run, model, metrics, seconds) | {"weights_hash": file_hash(new / "model.safetensors")}
    write_atomically(new / "README.md", model_card(result, run.lineage).encode())
    result["content_hash"] = folder_hash(new, sorted(p.name for p in new.iterdir() if p.suffix != ".md"))
    return result


def _result(
    run: TrainingRun, model: PreTrainedModel, metrics: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    import torch

    losses = [entry["loss"] for entry in metrics if "loss" in entry]
    validations = [entry for entry in metrics if "bits_per_byte" in entry]
    probes = [entry for entry in metrics if "probe_seconds" in entry]
    # a resumed run counts what the processes before it took
    seconds = max([seconds, *(entry["seconds"] for entry in metrics if "seconds" in entry)])
    packed = run.packed.manifest()
    return {
        "identity": run.identity,
        "recipe": asdict(run.recipe),
        "recipe_hash": run.recipe.hash,
        "corpus_content_hash": packed["corpus_content_hash"],
        "packed_content_hash": packed["content_hash"],
        "num_parameters": model.num_parameters(),
        "num_tokens_seen": max((entry.get("num_tokens", 0) for entry in metrics), default=0),
        "num_tokens_in_corpus": packed["splits"]["train"]["num_tokens"],
        "tokens_by_source": packed["splits"]["train"]["tokens_by_source"],
        "first_loss": losses[0] if losses else None,
        "final_loss": losses[-1] if losses else None,
        "validation": {k: v for k, v in validations[-1].items() if k != "step"} if validations else {},
        "probe": {k: v for k, v in probes[-1].items() if k.startswith(PREFIX)} if probes else {},
        **({"probe_seconds": _probe_seconds(metrics)} if probes else {}),
        "seconds": round(seconds, 2),
        "environment": {
            **{name: _version(name) for name in ("torch", "transformers", "trl")},
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu x {os.cpu_count()}",
        },
    }


def _probe_seconds(metrics: list[dict[str, Any]]) -> float:
    names = ("probe_seconds", "probe_completion_seconds")
    return round(sum(entry.get(name, 0.0) for entry in metrics for name in names), 2)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
