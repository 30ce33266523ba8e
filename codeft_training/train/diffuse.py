"""The adaptation of a checkpoint to diffusion: packed rows and an autoregressive base in, a checkpoint out that fills.

Invariant: equal base, rows and recipe give equal weights on the same CPU; killed at any moment, the next call goes on
from the latest valid checkpoint.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import file_hash, replacing_folder, write_atomically
from codeft_assets.base.markdown import table
from codeft_assets.base.report import Reporter
from codeft_training.data.packed_rows import PackedRows
from codeft_training.diffusion_recipe import DiffusionRecipe
from codeft_training.export.checkpoint import save_checkpoint
from codeft_training.export.model_card import hub_name
from codeft_training.measure.metrics import FILE, Metrics
from codeft_training.model.base_model import base_folder, base_hash
from codeft_training.model.schedule import build_schedule
from codeft_training.recipe_groups import ScheduleConfig
from codeft_training.run_spec import Stopped
from codeft_training.train.checkpoints import latest_valid, library_write_errors
from codeft_training.train.result import environment
from codeft_training.train.signals import StopRequest

if TYPE_CHECKING:
    from codeft_training.train.diffusion_trainer import DiffusionTrainer

FACTS = "diffusion.json"
"""In the checkpoint: the mask, without which nothing can be filled."""


@dataclass(frozen=True)
class DiffusionRun:
    """The inputs and the output folder of a run."""

    base_model: str
    packed: PackedRows
    output: Path
    recipe: DiffusionRecipe

    @cached_property
    def identity(self) -> str:
        """Names the weights: recipe, rows and base by their content."""
        rows = self.packed.manifest()["content_hash"][:16]
        return f"{self.recipe.hash}-{rows}-{base_hash(base_folder(self.base_model))}"

    @property
    def work(self) -> Path:
        """Folder of checkpoints and metrics."""
        return self.output / "runs" / self.identity


def diffuse(run: DiffusionRun, reporter: Reporter, stop: StopRequest | None = None) -> dict[str, Any]:
    """Adapt a checkpoint, or go on, or return the finished result.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        ValueError: the tokenizer has no such mask, or the rows are of another one.
        FloatingPointError: loss, gradient or weights are not finite.
        OSError: the disk is full; the last valid checkpoint is kept.
    """
    stop, start = stop or StopRequest().install(), time.monotonic()
    if (finished := _finished(run)) is not None:
        reporter.log(f"run {run.identity} is finished: nothing to do")
        return finished
    mask_id = _mask_id(run)
    run.packed.verify()
    run.work.mkdir(parents=True, exist_ok=True)
    with closing(Metrics(run.work, reporter)) as metrics:
        trainer = _train(run, mask_id, metrics, stop)
        entries = [entry for entry in metrics.entries() if "loss" in entry]
    return _save(run, trainer, mask_id, entries, time.monotonic() - start)


def _finished(run: DiffusionRun) -> dict[str, Any] | None:
    path, weights = run.output / "result.json", run.output / "checkpoint" / "model.safetensors"
    if not (path.is_file() and weights.is_file()):
        return None
    result = json.loads(path.read_text())
    return result if result["identity"] == run.identity and result["weights_hash"] == file_hash(weights) else None


def _mask_id(run: DiffusionRun) -> int:
    """Return the id of the mask; the rows must be of the base's tokenizer, and have none."""
    from transformers import AutoTokenizer

    vocabulary = AutoTokenizer.from_pretrained(base_folder(run.base_model)).get_vocab()
    name, size = run.recipe.mask_token, run.packed.manifest()["vocab_size"]
    if name not in vocabulary or size != len(vocabulary):
        problem = (
            f"has no token {name!r}" if name not in vocabulary else f"has {len(vocabulary):,} tokens, not {size:,}"
        )
        raise ValueError(
            f"the tokenizer of {run.base_model!r} {problem}; set mask_token to one that no text has, and pack the rows "
            "with this tokenizer"
        )
    return vocabulary[name]


def _train(run: DiffusionRun, mask_id: int, metrics: Metrics, stop: StopRequest) -> DiffusionTrainer:
    from codeft_training.train.oom import retry_line, retry_with_smaller_batch
    from codeft_training.train.run_reporter import RunReporter

    def attempt(batch_rows: int) -> DiffusionTrainer:
        reporter = RunReporter(metrics, stop, learning_rate=run.recipe.learning_rate)
        trainer = build_trainer(run, mask_id, batch_rows=batch_rows, callbacks=[reporter])
        resume = latest_valid(run.work)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        if reporter.is_stopped:
            raise Stopped(f"stopped at step {trainer.state.global_step} of {run.recipe.max_steps}; the state is saved")
        return trainer

    return retry_with_smaller_batch(attempt, run.recipe.batch_rows, lambda n: metrics.log(retry_line(n)))[0]


def build_trainer(run: DiffusionRun, mask_id: int, *, batch_rows: int, callbacks: list[Any]) -> DiffusionTrainer:
    """Return the trainer of a run at its first step."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, set_seed

    from codeft_training.train.diffusion_trainer import DiffusionTrainer, diffusion_arguments
    from codeft_training.train.row_dataset import RowCollator

    recipe = run.recipe
    set_seed(recipe.seed)
    warmup = recipe.warmup_fraction
    shape = ScheduleConfig(max_steps=recipe.max_steps, warmup_fraction=warmup, decay_fraction=1 - warmup)
    return DiffusionTrainer(
        build_schedule(shape),
        recipe,
        mask_id,
        model=AutoModelForCausalLM.from_pretrained(base_folder(run.base_model), dtype=torch.float32),
        args=diffusion_arguments(recipe, run.work, batch_rows),
        train_dataset=Dataset.from_dict({"row": list(range(len(run.packed.tokens("train"))))}),
        data_collator=RowCollator(run.packed),
        callbacks=callbacks,
    )


def _save(
    run: DiffusionRun, trainer: DiffusionTrainer, mask_id: int, entries: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    from transformers import AutoConfig

    folder = base_folder(run.base_model)
    config: Any = AutoConfig.from_pretrained(folder)
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    context = run.packed.manifest()["context_tokens"]
    result = {
        "identity": run.identity,
        "recipe": run.recipe.record(),
        "base_model": run.base_model,
        "base_hash": base_hash(folder),
        "packed_content_hash": run.packed.manifest()["content_hash"],
        "num_parameters": model.num_parameters(),
        "num_tokens_seen": run.recipe.max_steps * run.recipe.rows_per_step * context,
        "first_loss": entries[0]["loss"],
        "final_loss": entries[-1]["loss"],
        "seconds": round(seconds, 2),
        "environment": environment(),
    }
    with replacing_folder(run.output / "checkpoint", also=library_write_errors()) as place:
        save_checkpoint(model, folder, place, dtype=config.dtype)
        facts = {"mask_token": run.recipe.mask_token, "mask_id": mask_id}
        (place / FACTS).write_text(json.dumps(facts))
        result["weights_hash"] = file_hash(place / "model.safetensors")
        (place / "README.md").write_text(_card(result))
        (run.output / "result.json").unlink(missing_ok=True)
    write_atomically(run.output / FILE, (run.work / FILE).read_bytes())
    write_atomically(run.output / "result.json", json.dumps(result, indent=1, sort_keys=True))
    return result


def _card(result: dict[str, Any]) -> str:
    base = hub_name(result["base_model"])
    front = f"---\nlibrary_name: transformers\nbase_model: {base}\nlicense: other\nlicense_name: by-source\n---"
    words = (
        f"{base}, adapted to masked diffusion (DiffuLLaMA, arXiv 2410.17891): attention sees both sides, hidden tokens "
        f"are filled in a few passes. `generate` of transformers, which writes from left to right, is no use of it; "
        f"`python -m codeft_training fill` is. The mask is in `{FACTS}`."
    )
    rows = [(name, value) for name, value in result.items() if not isinstance(value, dict)]
    rows += [(f"recipe: {name}", str(value)) for name, value in result["recipe"].items()]
    return "\n\n".join([front, f"# codeFT diffusion of {base}", words, table(("property", "value"), rows), ""])


def fill_text(checkpoint: Path, prefix: str, suffix: str, *, num_tokens: int, num_steps: int) -> str:
    """Return the text that an adapted checkpoint puts between two others; ``suffix`` may be empty.

    Raises:
        ValueError: the checkpoint was not adapted, or the prefix is empty.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from codeft_training.model.diffusion import fill

    if not (checkpoint / FACTS).is_file():
        raise ValueError(f"{str(checkpoint)!r} has no {FACTS}: it writes from left to right; adapt it by diffuse first")
    mask_id = json.loads((checkpoint / FACTS).read_text())["mask_id"]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prefix, suffix))
    if not before:
        raise ValueError("the prefix is empty; a token must stand before the first hidden one")
    ids = torch.tensor([[*before, *[mask_id] * num_tokens, *after]])
    filled, _ = fill(model, ids, mask_id, num_steps=num_steps)
    return tokenizer.decode(filled[0, len(before) : len(before) + num_tokens], skip_special_tokens=True)
