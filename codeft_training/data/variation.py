"""The ways in which a run reads its rows otherwise than they were packed, so that repeated data repeats less."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from codeft_training.data.document_order import DocumentOrder
from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipe import PretrainRecipe

MASK_TOKEN = "<|fim_pad|>"  # noqa: S105  not a password; padding is hidden by its nature, and no document has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """None of the ways is taken by default."""

    document_order: DocumentOrder | None = None
    masked_share: float = 0.0
    """Of the input tokens that ``mask_token`` replaces; their labels stay."""
    mask_token: int = 0
    num_procedural_steps: int = 0
    """First steps that read ``procedural_rows`` instead."""
    vocab_size: int = 0
    """Of the procedural rows."""


def build_variation(packed: PackedRows, tokenizer: Path, recipe: PretrainRecipe) -> Variation:
    """Return the ways that a recipe wants.

    Raises:
        ValueError: inputs shall be masked, and the tokenizer has no token for it.
    """
    chosen = recipe.repetition
    shuffles = chosen.document_order == "shuffled"
    return Variation(
        document_order=DocumentOrder(packed, recipe.data.seed) if shuffles else None,
        masked_share=chosen.masked_inputs,
        mask_token=_mask_token(tokenizer) if chosen.masked_inputs else 0,
        num_procedural_steps=num_procedural_steps(chosen.procedural_fraction, recipe.schedule.max_steps),
        vocab_size=packed.manifest()["vocab_size"],
    )


def num_procedural_steps(fraction: float, max_steps: int) -> int:
    """Return how many first steps read procedural rows."""
    return math.ceil(fraction * max_steps)


def _mask_token(tokenizer: Path) -> int:
    from tokenizers import Tokenizer

    token = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).token_to_id(MASK_TOKEN)
    if token is None:
        raise ValueError(
            f"masked_inputs needs the token {MASK_TOKEN!r}, which the tokenizer in {str(tokenizer)!r} does not have; "
            f"set masked_inputs=0, or materialize model/tokenizer again"
        )
    return token
