"""The result of a finished run: checkpoint folder, metrics and ``result.json``, written last."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import file_hash, folder_hash, replacing_folder, write_atomically
from codeft_training.export.checkpoint import save_checkpoint
from codeft_training.export.model_card import model_card
from codeft_training.measure.eval_texts import BITS_PREFIX
from codeft_training.measure.metrics import FILE
from codeft_training.measure.validation import best_entry
from codeft_training.recipe import FinetuneRecipe, Recipe
from codeft_training.run_spec import TrainingRun
from codeft_training.train.checkpoints import library_write_errors
from codeft_training.train.stage_report import stage_report

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Entries = Sequence[dict[str, Any]]


def save_result(run: TrainingRun, model: PreTrainedModel, metrics: Entries, seconds: float) -> dict[str, Any]:
    """Replace the checkpoint folder, then write ``result.json``, and return the result.

    Raises:
        OSError: the disk is full; the checkpoints of the run are kept.
    """
    result = _summary(run, model, metrics, seconds)
    with replacing_folder(run.output / "checkpoint", also=library_write_errors()) as folder:
        save_checkpoint(model, run.tokenizer, folder, dtype=_base_dtype(run.recipe))
        result["weights_hash"] = file_hash(folder / "model.safetensors")
        (folder / "README.md").write_text(model_card(result, run.lineage))
        result["content_hash"] = folder_hash(folder, [p.name for p in folder.iterdir() if p.suffix != ".md"])
        (run.output / "result.json").unlink(missing_ok=True)
    write_atomically(run.output / FILE, (run.work / FILE).read_bytes())
    write_atomically(run.output / "result.json", json.dumps(result, indent=1, sort_keys=True))
    return result


def _base_dtype(recipe: Recipe) -> torch.dtype | None:
    """Return the type of the base model's weights: training widens them, and what is stored has the base's size."""
    from transformers import AutoConfig

    if not isinstance(recipe, FinetuneRecipe):
        return None
    config: Any = AutoConfig.from_pretrained(recipe.finetuning.base_model)
    return config.dtype


def _summary(run: TrainingRun, model: PreTrainedModel, metrics: Entries, seconds: float) -> dict[str, Any]:
    losses = [entry["loss"] for entry in metrics if "loss" in entry]
    validation, is_average = best_entry(metrics)
    eval_texts = [entry for entry in metrics if "probe_seconds" in entry]
    last_step = max((entry["step"] for entry in metrics), default=0)
    # a resumed run counts the time of the processes before it
    seconds = max([seconds, *(entry["seconds"] for entry in metrics if "seconds" in entry)])
    packed = run.packed.manifest()
    return {
        "identity": run.identity,
        "recipe": run.recipe.record(),
        "recipe_hash": run.recipe.hash,
        **({"base_hash": run.base_hash} if run.base_hash else {}),
        "corpus_content_hash": packed["corpus_content_hash"],
        "packed_content_hash": packed["content_hash"],
        "selection": packed["selection"],
        "stages": stage_report(run, metrics),
        "num_parameters": model.num_parameters(),
        "num_tokens_seen": max((entry.get("num_tokens", 0) for entry in metrics), default=0),
        "num_tokens_in_corpus": packed["splits"]["train"]["num_tokens"],
        "tokens_by_source": packed["splits"]["train"]["tokens_by_source"],
        "first_loss": losses[0] if losses else None,
        "final_loss": losses[-1] if losses else None,
        # the engine has returned the weights of this very measurement
        "kept": {"step": validation.get("step", last_step), "weights": "average" if is_average else "trained"},
        "last_step": last_step,
        "validation": {k: v for k, v in validation.items() if k != "step"},
        "probe": {k: v for k, v in eval_texts[-1].items() if k.startswith(BITS_PREFIX)} if eval_texts else {},
        **({"probe_seconds": _eval_seconds(metrics)} if eval_texts else {}),
        "seconds": round(seconds, 2),
        "environment": environment(),
    }


def environment() -> dict[str, str]:
    """Return the versions of the libraries, and the device."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu x {os.cpu_count()}"
    return {**{name: _version(name) for name in ("torch", "transformers", "trl")}, "device": device}


def _eval_seconds(metrics: Entries) -> float:
    names = ("probe_seconds", "probe_completion_seconds")
    return round(sum(entry.get(name, 0.0) for entry in metrics for name in names), 2)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
