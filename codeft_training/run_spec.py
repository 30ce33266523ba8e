"""The specification of a training run: its inputs, its folder, its recipe, and how it can end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft_assets.base.files import file_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipe import Recipe

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
        """Names the result: a hash each of recipe, packed rows and tokenizer."""
        tokenizer = file_hash(self.tokenizer / "tokenizer.json")
        return f"{self.recipe.hash}-{self.packed.manifest()['content_hash'][:16]}-{tokenizer[:8]}"

    @property
    def work(self) -> Path:
        """Folder of the engine's own checkpoints and metrics."""
        return self.output / "runs" / self.identity
