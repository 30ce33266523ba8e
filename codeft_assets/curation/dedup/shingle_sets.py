"""The distinct shingles of candidate documents: a text is read once, however many pairs it is in.

Invariant: memory holds one batch of texts and at most ``max_held`` shingles at a time; the rest lies in a
temporary file (about 0.8 bytes per byte of text) without a name, so that even a killed run leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.curation.kernels.minhash import pairwise_jaccard, shingle_sets
from codeft_assets.curation.text_buffers import text_buffers

MAX_HELD = 1 << 22
"""Shingles of eight bytes that are held in memory before they are written to the file."""


class ShingleSets:
    """Shingle sets of some of ``num_rows`` documents, by row number."""

    def __init__(self, num_rows: int, shingle_words: int, max_held: int = MAX_HELD) -> None:
        self._width, self._max_held = shingle_words, max_held
        self._begins = np.full(num_rows, -1, dtype=np.int64)
        self._ends = np.full(num_rows, -1, dtype=np.int64)
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="codeft-shingles-")  # noqa: SIM115  open as long as this object
        self._held: list[npt.NDArray[np.uint64]] = []
        self._size, self._num_in_file = 0, 0

    def missing(self, rows: Rows) -> Rows:
        """Return those of ``rows`` whose set was not added yet."""
        return rows[self._begins[rows] == -1]

    def add(self, rows: Rows, text: pa.Array) -> None:
        """Add the shingle sets of ``text``, the documents of ``rows``.

        Raises:
            OSError: the disk of the temporary folder (``TMPDIR``) is full.
        """
        data, offsets = text_buffers(text)
        flat, bounds = shingle_sets(data, offsets, self._width)
        self._held.append(flat)
        self._begins[rows] = bounds[:-1] + self._size
        self._ends[rows] = bounds[1:] + self._size
        self._size += len(flat)
        if self._size > self._max_held:
            for shingles in self._held:
                shingles.tofile(self._file)
            self._held, self._num_in_file = [], self._size

    def jaccard(self, left: Rows, right: Rows) -> npt.NDArray[np.float32]:
        """Return the exact Jaccard similarity of each pair of rows; 0 where one of them has no shingles."""
        if not self._size:
            return np.zeros(len(left), dtype=np.float32)
        order = np.argsort(right, kind="stable")
        similarity = np.empty(len(left), dtype=np.float32)
        similarity[order] = pairwise_jaccard(self._all(), self._begins, self._ends, left[order], right[order])
        return similarity

    def _all(self) -> npt.NDArray[np.uint64]:
        if self._num_in_file:
            self._file.flush()
            return np.asarray(np.memmap(self._file, dtype=np.uint64, mode="r", shape=(self._num_in_file,)))
        if len(self._held) > 1:
            self._held = [np.concatenate(self._held)]
        return self._held[0]
