"""Preference training: a base checkpoint and pairs in, a checkpoint out that ``from_pretrained`` loads.

Invariant: equal base, pairs and recipe give equal weights on the same CPU. Killed at any moment, the next call goes on
from the latest valid checkpoint; a finished run is not run again.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import file_hash, folder_hash, replacing_folder, write_atomically
from codeft_assets.base.report import Reporter
from codeft_training.data.preference_pairs import EncodedPairs, encode_pairs, read_pairs
from codeft_training.export.checkpoint import save_checkpoint
from codeft_training.export.preference_card import preference_card
from codeft_training.measure.metrics import FILE, Metrics
from codeft_training.model.base_model import base_folder, base_hash
from codeft_training.model.schedule import build_schedule
from codeft_training.preference_recipe import PreferenceRecipe
from codeft_training.recipe_groups import ScheduleConfig
from codeft_training.run_spec import Stopped
from codeft_training.train.checkpoints import latest_valid, library_write_errors
from codeft_training.train.result import environment
from codeft_training.train.signals import StopRequest

if TYPE_CHECKING:
    from codeft_training.train.dpo_trainer import PreferenceTrainer


@dataclass(frozen=True)
class PreferenceRun:
    """The inputs and the output folder of a run."""

    base_model: str
    """A folder or Hub id: the model that begins, and the fixed reference."""
    pairs: Path
    """JSON lines, as ``codeft_eval pairs`` writes them; ``pairs.json`` beside them has their facts."""
    output: Path
    recipe: PreferenceRecipe

    @cached_property
    def base_hash(self) -> str:
        """Of the base's weights and configuration."""
        return base_hash(base_folder(self.base_model))

    @cached_property
    def identity(self) -> str:
        """Names the weights: recipe, pairs and base by their content."""
        return f"{self.recipe.hash}-{file_hash(self.pairs)[:16]}-{self.base_hash}"

    @property
    def work(self) -> Path:
        """Folder of checkpoints and metrics."""
        return self.output / "runs" / self.identity

    def facts(self) -> dict[str, Any]:
        """Return what is known of the pairs; {} where nothing is written beside them."""
        path = self.pairs.with_suffix(".json")
        return json.loads(path.read_text()) if path.is_file() else {}


def prefer(run: PreferenceRun, reporter: Reporter, stop: StopRequest | None = None) -> dict[str, Any]:
    """Train on pairs, or resume, or return the finished result.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        ValueError: base and pairs do not fit together.
        FloatingPointError: loss, gradient or weights are not finite.
        OSError: the disk is full; the last valid checkpoint is kept.
    """
    stop, start = stop or StopRequest().install(), time.monotonic()
    if (finished := _finished(run)) is not None:
        reporter.log(f"run {run.identity} is finished: nothing to do")
        return finished
    _check_output(run)
    run.work.mkdir(parents=True, exist_ok=True)
    with closing(Metrics(run.work, reporter)) as metrics:
        pairs = _encoded(run)
        trainer, held_out = _train(run, pairs, metrics, stop)
        return _save(run, trainer, _summary(run, pairs, held_out, metrics, time.monotonic() - start))


def _finished(run: PreferenceRun) -> dict[str, Any] | None:
    path, weights = run.output / "result.json", run.output / "checkpoint" / "model.safetensors"
    if not (path.is_file() and weights.is_file()):
        return None
    result = json.loads(path.read_text())
    is_same = result.get("identity") == run.identity and file_hash(weights) == result["weights_hash"]
    return result if is_same else None


def _check_output(run: PreferenceRun) -> None:
    base, checkpoint = base_folder(run.base_model).resolve(), (run.output / "checkpoint").resolve()
    if base.is_relative_to(checkpoint) or checkpoint.is_relative_to(base):
        raise ValueError(
            f"the base {run.base_model!r} would be replaced by the result, {str(checkpoint)!r}; choose another --output"
        )
    known, wanted = run.facts().get("content_hash"), file_hash(run.pairs)
    if known not in {None, wanted}:
        raise ValueError(f"{str(run.pairs)!r} was changed after its facts were written; make the pairs again")


def _encoded(run: PreferenceRun) -> EncodedPairs:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_folder(run.base_model))
    recipe = run.recipe
    return encode_pairs(read_pairs(run.pairs), tokenizer, context_tokens=recipe.context_tokens, seed=recipe.seed)


def _train(
    run: PreferenceRun, pairs: EncodedPairs, metrics: Metrics, stop: StopRequest
) -> tuple[PreferenceTrainer, dict[str, float]]:
    """Return the trainer at its end, and the measurements on pairs of held-out items."""
    from codeft_training.train.dpo_trainer import measurements
    from codeft_training.train.oom import retry_line, retry_with_smaller_batch
    from codeft_training.train.run_reporter import RunReporter

    def attempt(batch_pairs: int) -> tuple[PreferenceTrainer, dict[str, float]]:
        rate = run.recipe.learning_rate
        reporter = RunReporter(metrics, stop, learning_rate=rate, measure=measurements)
        trainer = build_trainer(run, pairs, batch_pairs=batch_pairs, callbacks=[reporter])
        resume = latest_valid(run.work)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        if reporter.is_stopped:
            raise Stopped(
                f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}; the state is saved"
            )
        return trainer, measurements(trainer.evaluate(), "eval_")

    return retry_with_smaller_batch(attempt, run.recipe.batch_pairs, lambda n: metrics.log(retry_line(n)))[0]


def build_trainer(
    run: PreferenceRun, pairs: EncodedPairs, *, batch_pairs: int, callbacks: list[Any]
) -> PreferenceTrainer:
    """Return the trainer of a run at its first step; the reference is the base, loaded a second time."""
    from datasets import Dataset
    from transformers import AutoTokenizer, set_seed

    from codeft_training.train.dpo_trainer import PreferenceTrainer, preference_arguments

    recipe, folder = run.recipe, base_folder(run.base_model)
    set_seed(recipe.seed)
    num_steps = max(1, round(recipe.passes * len(pairs.train) / recipe.pairs_per_step))
    warmup = recipe.warmup_fraction
    shape = ScheduleConfig(max_steps=num_steps, warmup_fraction=warmup, decay_fraction=1 - warmup)
    return PreferenceTrainer(
        build_schedule(shape),
        model=_load(folder),
        ref_model=_load(folder),
        args=preference_arguments(recipe, run.work, num_steps=num_steps, batch_pairs=batch_pairs),
        train_dataset=Dataset.from_list(list(pairs.train)),
        eval_dataset=Dataset.from_list(list(pairs.held_out)),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=callbacks,
    )


def _load(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _summary(
    run: PreferenceRun, pairs: EncodedPairs, held_out: dict[str, float], metrics: Metrics, seconds: float
) -> dict[str, Any]:
    entries = [entry for entry in metrics.entries() if "loss" in entry]
    return {
        "identity": run.identity,
        "recipe": run.recipe.record(),
        "recipe_hash": run.recipe.hash,
        "base_model": run.base_model,
        "base_hash": run.base_hash,
        "pairs": run.facts() | {"content_hash": file_hash(run.pairs)},
        "num_pairs_trained": len(pairs.train),
        "num_pairs_held_out": len(pairs.held_out),
        "num_pairs_too_long": pairs.num_too_long,
        "num_tokens_seen": round(run.recipe.passes * pairs.num_tokens),
        "last_step": entries[-1]["step"],
        "first": {name: value for name, value in entries[0].items() if name != "step"},
        "last": {name: value for name, value in entries[-1].items() if name != "step"},
        "held_out": held_out,
        "seconds": round(seconds, 2),
        "environment": environment(),
    }


def _save(run: PreferenceRun, trainer: PreferenceTrainer, result: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoConfig

    folder = base_folder(run.base_model)
    config: Any = AutoConfig.from_pretrained(folder)
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    result["num_parameters"] = model.num_parameters()
    with replacing_folder(run.output / "checkpoint", also=library_write_errors()) as place:
        save_checkpoint(model, folder, place, dtype=config.dtype)
        result["weights_hash"] = file_hash(place / "model.safetensors")
        (place / "README.md").write_text(preference_card(result))
        result["content_hash"] = folder_hash(place, [path.name for path in place.iterdir() if path.suffix != ".md"])
        (run.output / "result.json").unlink(missing_ok=True)
    write_atomically(run.output / FILE, (run.work / FILE).read_bytes())
    write_atomically(run.output / "result.json", json.dumps(result, indent=1, sort_keys=True))
    return result
