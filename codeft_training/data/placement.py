"""Places of documents in rows of one length: best fit, then splitting, so that no token is lost.

No row is short but for documents that must stay whole: they leave gaps where there is nothing else to fill them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codeft_training.data.placement_kernel import best_fit, fill_gaps, holds_whole, lay_out

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Parts of documents at places in rows, ordered by row and place: arrays of one length."""

    row: Integers
    start: Integers
    length: Integers
    document: Integers
    document_start: Integers

    @property
    def num_rows(self) -> int:
        """Rows in all."""
        return int(self.row[-1]) + 1 if len(self.row) else 0


def place_pieces(lengths: Integers, row_tokens: int, whole: Integers | None = None) -> Pieces:
    """Return the place of each document: full rows first, remainders by best fit, gaps filled by splitting.

    Every token of every document is in exactly one piece; at most one row is left short where no document must stay
    whole. The order of equally long documents decides nothing but their places.

    Args:
        lengths: Tokens of each document.
        row_tokens: Tokens of a row.
        whole: 1 for each document that is not divided, which must fit in a row; if left out, there are none.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    whole = np.zeros_like(lengths) if whole is None else whole
    assert (lengths[whole > 0] <= row_tokens).all(), "what stays whole fits in a row"
    full = _full_rows(lengths, row_tokens)
    rest = lengths % row_tokens
    chosen = np.flatnonzero(rest)
    order = chosen[np.argsort(-rest[chosen], kind="stable")]  # longest first: "best fit decreasing"
    remainders = np.stack([order, lengths[order] - rest[order], rest[order], whole[order]])
    return _place_remainders(full, remainders, row_tokens)


def _full_rows(lengths: Integers, row_tokens: int) -> Integers:
    """Return the pieces that fill a row by themselves."""
    counts = lengths // row_tokens
    document = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.arange(len(document))
    zeros = np.zeros(len(document), dtype=np.int64)
    return np.stack([rows, zeros, np.full_like(zeros, row_tokens), document, number * row_tokens])


def _place_remainders(full: Integers, remainders: Integers, row_tokens: int) -> Pieces:
    """Return ``full`` and the pieces of ``remainders`` (document, start, length, whole), sorted longest first."""
    num = remainders.shape[1]
    free, first, last = (np.full(num, -1, dtype=np.int64) for _ in range(3))
    following = np.full(2 * num, -1, dtype=np.int64)
    num_rows = best_fit(remainders[2], row_tokens, free, first, last, following)
    free, first = free[:num_rows], first[:num_rows]
    # a cut closes the gap it fills: there are never more new parts than rows
    parts = np.concatenate([remainders, np.zeros((4, num_rows), dtype=np.int64)], axis=1)
    # rows that can give everything away are last: the others' gaps are filled first
    order = np.lexsort((free, ~holds_whole(first, following, parts[3])))
    num_parts = fill_gaps(order, free, first, following, parts[0], parts[1], parts[2], parts[3])
    pieces = np.empty((5, num_parts), dtype=np.int64)
    lay_out(first, following, full.shape[1], parts[0], parts[1], parts[2], pieces)
    return Pieces(*np.concatenate([full, pieces], axis=1))
