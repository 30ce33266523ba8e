"""The specification of a training run: its inputs, its folder, its recipe, and how it can end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft_assets.base.files import file_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.model.base_model import base_folder, base_hash
from codeft_training.recipe import FinetuneRecipe, Recipe, values_hash

STOPPED_EXIT_CODE = 143


class Stopped(Exception):  # noqa: N818  an outcome, not an error
    """The run received a stop request and has saved its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """The inputs and the output folder of a run."""

    packed: PackedRows
    tokenizer: Path
    output: Path
    recipe: Recipe
    lineage: dict[str, Any]
    """Of the corpus, for the model card: sources, revisions, licenses, drops."""
    eval_texts: Path | None = None
    """JSON lines of texts that each evaluation reads; they change no weight and are not part of the identity."""

    @property
    def identity(self) -> str:
        """Names the weights: a hash each of what decides them, the recipe with its base, packed rows and tokenizer.

        How often a run is logged, validated and saved changes no weight, nor does the division of the global batch
        into micro-batches but for rounding: a run goes on when these are changed. Which of its steps is kept is decided
        by those that were validated. A base model counts by its content.
        """
        values, base = self.recipe.weight_values(), self.base_hash
        recipe = values_hash(values | {"base_model": base} if base else values)
        tokenizer = file_hash(self.tokenizer / "tokenizer.json")
        return f"{recipe}-{self.packed.manifest()['content_hash'][:16]}-{tokenizer[:8]}"

    @property
    def base_hash(self) -> str | None:
        """Of weights and configuration of the base model; None from scratch."""
        if not isinstance(self.recipe, FinetuneRecipe):
            return None
        return base_hash(base_folder(self.recipe.finetuning.base_model))

    @property
    def work(self) -> Path:
        """Folder of the engine's own checkpoints and metrics."""
        return self.output / "runs" / self.identity
