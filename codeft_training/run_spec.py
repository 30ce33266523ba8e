"""What a training run is: where it reads and writes, what it computes, and how it can end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft_training.data.corpus import file_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipes import Recipe

STOPPED_EXIT_CODE = 143


class Stopped(Exception):  # noqa: N818  an outcome, not an error
    """The run was asked to stop and has saved its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """Where a run reads and writes, and what it computes."""

    packed: PackedRows
    tokenizer: Path
    output: Path
    recipe: Recipe
    lineage: dict[str, Any]
    """Of the corpus, for the model card: sources, revisions, licenses, drops."""
    probe: Path | None = None
    """JSON lines of texts to weigh at each validation; they change no weight and are not part of the identity."""

    @property
    def identity(self) -> str:
        """Names the result: what was trained how on what."""
        tokenizer = file_hash(self.tokenizer / "tokenizer.json")
        return f"{self.recipe.hash}-{self.packed.manifest()['content_hash'][:16]}-{tokenizer[:8]}"

    @property
    def work(self) -> Path:
        """Folder of the trainer's own checkpoints and metrics."""
        return self.output / "runs" / self.identity
