"""A new order of the documents in each pass over packed rows.

The lengths that fill a row stay together, the pieces that have them do not: in each pass a piece of a document changes
places with others of its length in its group of rows, and the pieces of a row follow each other in a new order. So
every token is read once a pass, a conversation stays whole, and nothing is packed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.row_groups import group_numbers

Integers = npt.NDArray[np.int64]
PADDING = -1
"""Source of a place without a token."""
_STREAM = 2
"""Of random numbers; 1 is the annealing phase's order of rows."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The pieces of a group in a pass, row by row in their order: arrays of one length."""

    row: Integers
    start: Integers
    length: Integers
    source: Integers
    """Place of the first token in the packed file, rows one after another."""


class DocumentOrder:
    """Where the tokens of each row come from, in each pass; a pure function of seed and pass."""

    def __init__(self, packed: PackedRows, seed: int) -> None:
        manifest = packed.manifest()
        self._context_tokens, self._seed = manifest["context_tokens"], seed
        row, start, length = packed.pieces("train")
        self._row, self._length, self._source = row, length, row * self._context_tokens + start
        self._group = group_numbers(manifest["splits"]["train"])
        self._num_rows, self._num_groups = len(self._group), int(self._group.max(initial=0)) + 1
        owner = self._group[row]
        self._pieces = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
        # a step may see the end of one pass of a group and the next
        self._layout = lru_cache(maxsize=2 * self._num_groups)(self._new_layout)

    def sources(self, readings: Integers) -> tuple[Integers, npt.NDArray[np.uint8]]:
        """Return the place of each token in the packed file, and 1 where a piece begins; both ``[rows, context]``."""
        source = np.full((len(readings), self._context_tokens), PADDING, dtype=np.int64)
        starts = np.zeros(source.shape, dtype=np.uint8)
        numbers, rows = np.divmod(readings, self._num_rows)
        keys = numbers * self._num_groups + self._group[rows]
        for key in np.unique(keys):
            number, group = divmod(int(key), self._num_groups)
            self._fill(self._layout(group, number), np.flatnonzero(keys == key), rows, source, starts)
        return source, starts

    def _fill(
        self, layout: _Layout, chosen: Integers, rows: Integers, source: Integers, starts: npt.NDArray[np.uint8]
    ) -> None:
        first, stop = (np.searchsorted(layout.row, rows[chosen], side=side) for side in ("left", "right"))
        pieces = _ranges(first, stop - first)
        target = np.repeat(chosen * self._context_tokens, stop - first) + layout.start[pieces]
        lengths = layout.length[pieces]
        source.reshape(-1)[_ranges(target, lengths)] = _ranges(layout.source[pieces], lengths)
        starts.reshape(-1)[target] = 1

    def _new_layout(self, group: int, number: int) -> _Layout:
        rng = np.random.Generator(np.random.PCG64([self._seed, _STREAM, number, group]))
        chosen = self._pieces[group]
        row, length = self._row[chosen], self._length[chosen]
        piece = np.empty_like(chosen)
        piece[np.argsort(length, kind="stable")] = np.lexsort((rng.random(len(piece)), length))
        piece = piece[np.lexsort((rng.random(len(piece)), row))]
        length = length[piece]
        before = np.cumsum(length) - length
        return _Layout(row, before - before[np.searchsorted(row, row)], length, self._source[chosen][piece])


def _ranges(first: Integers, length: Integers) -> Integers:
    """Return the numbers of all ranges, one range after another."""
    return np.arange(length.sum()) + np.repeat(first - (np.cumsum(length) - length), length)
