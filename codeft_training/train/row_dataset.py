"""Packed rows as TRL's trainer reads them: a data set of row numbers, and the collator that looks the rows up.

Invariant: a token sees the earlier tokens of its own piece of a document only. Transformers' models take that from
positions that begin again within a row, as long as there is no attention mask; TRL's own way, ``padding_free``, puts
all rows of a batch into one, whose mask is quadratic in their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from codeft_training.data.batches import IGNORE_INDEX, document_positions
from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor


def row_dataset(packed: PackedRows, recipe: Recipe, stage_begins: tuple[int, ...]) -> Dataset:
    """Return the numbers of the training rows in the order of the run; ``stage_begins`` are steps."""
    from datasets import Dataset

    rows_per_step, max_steps = recipe.data.rows_per_step, recipe.schedule.max_steps
    order = packed.order(recipe.data.seed, recipe.schedule.stages)
    begins = order.phase_begins(tuple(begin * rows_per_step for begin in stage_begins), max_steps * rows_per_step)
    return Dataset.from_dict({"row": order.rows(0, max_steps * rows_per_step, begins)})


class RowCollator:
    """Makes a batch of row numbers: tokens, labels (-100 where a token is not in the loss) and positions."""

    def __init__(self, packed: PackedRows) -> None:
        self._tokens, self._loss_mask = packed.tokens("train"), packed.loss_mask("train")
        self._starts = packed.starts("train")

    def __call__(self, examples: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Return the batch, ``[rows, context]`` each."""
        from torch import from_numpy

        rows = [example["row"] for example in examples]
        tokens = self._tokens[rows].astype(np.int64)
        labels = np.where(self._loss_mask[rows] == 1, tokens, IGNORE_INDEX)
        positions = document_positions(self._starts[rows])
        parts = {"input_ids": tokens, "labels": labels, "position_ids": positions}
        return {name: from_numpy(part) for name, part in parts.items()}
