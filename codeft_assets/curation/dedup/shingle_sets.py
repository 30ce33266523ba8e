"""The distinct shingles of candidate documents: a text is read once, however many pairs it is in.

Programs are compared by their structure as well. Two that share five words with other operators between them, or in
Python at another level of indentation, do another thing: their similarity is 0, however many words they share.

Invariant: memory holds one batch of texts and at most ``max_held`` shingles at a time; the rest lies in a
temporary file (about 1.6 bytes per byte of text) without a name, so that even a killed run leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.curation.kernels.shingle_sets import pairwise_jaccard, room_for_shingles, shingle_sets
from codeft_assets.curation.kernels.structure import CODE, INDENTED, PROSE
from codeft_assets.curation.scripts import separate_words
from codeft_assets.curation.text_buffers import text_buffers

Mask = npt.NDArray[np.bool_]

MAX_HELD = 1 << 21
"""Shingles of sixteen bytes, with their marks, that are held in memory before they are written to the files."""
PROSE_LANGUAGE = "text"
STYLE_BY_LANGUAGE = {PROSE_LANGUAGE: PROSE, "python": INDENTED}
"""What counts between the words of a language; operators and brackets where it is not named."""


def structure_styles(language: pl.Series) -> npt.NDArray[np.int8]:
    """Return what counts between words, one for each document."""
    return language.replace_strict(STYLE_BY_LANGUAGE, default=CODE, return_dtype=pl.Int8).to_numpy()


def are_comparable(language: npt.NDArray[Any], is_code: npt.NDArray[np.bool_], left: Rows, right: Rows) -> Mask:
    """Return which pairs are not in two programming languages; ``language`` may be hashes of names."""
    return (language[left] == language[right]) | ~is_code[left] | ~is_code[right]


def jaccard(
    text: pa.Array, language: pl.Series, left: Rows, right: Rows, shingle_words: int
) -> npt.NDArray[np.float32]:
    """Return the similarity of each pair as deduplication judges it: exact, and 0 for programs in two languages."""
    sets = ShingleSets(structure_styles(language), shingle_words)
    sets.add(np.arange(len(text)), text)
    comparable = are_comparable(language.to_numpy(), (language != PROSE_LANGUAGE).to_numpy(), left, right)
    return np.where(comparable, sets.jaccard(left, right), np.float32(0))


class ShingleSets:
    """Shingle sets of some documents, by row number; ``styles`` says of each document what counts between its words."""

    def __init__(self, styles: npt.NDArray[np.int8], shingle_words: int, max_held: int = MAX_HELD) -> None:
        self._styles, self._width, self._max_held = styles, shingle_words, max_held
        self._begins = np.full(len(styles), -1, dtype=np.int64)
        self._ends = np.full(len(styles), -1, dtype=np.int64)
        self._flat = _Numbers()
        self._size = 0

    def missing(self, rows: Rows) -> Rows:
        """Return those of ``rows`` whose set was not added yet."""
        return rows[self._begins[rows] == -1]

    def add(self, rows: Rows, text: pa.Array) -> None:
        """Add the shingle sets of ``text``, the documents of ``rows``.

        Raises:
            OSError: the disk of the temporary folder (``TMPDIR``) is full.
        """
        self._add(rows, text)
        foreign, separated = separate_words(text)
        if len(foreign):
            self._add(rows[foreign], separated)

    def _add(self, rows: Rows, text: pa.Array) -> None:
        data, offsets = text_buffers(text)
        room = self._flat.room(room_for_shingles(offsets))
        bounds = shingle_sets(data, offsets, self._width, self._styles[rows], room)
        self._begins[rows] = bounds[:-1] + self._size
        self._ends[rows] = bounds[1:] + self._size
        self._size += int(bounds[-1])
        self._flat.num_held += int(bounds[-1])
        if self._size > 2 * self._max_held:
            self._flat.write()

    def jaccard(self, left: Rows, right: Rows) -> npt.NDArray[np.float32]:
        """Return the exact Jaccard similarity of each pair of rows; 0 where the structure differs or one has none."""
        if not self._size:
            return np.zeros(len(left), dtype=np.float32)
        order = np.argsort(right, kind="stable")
        similarity = np.empty(len(left), dtype=np.float32)
        similarity[order] = pairwise_jaccard(self._flat.all(), self._begins, self._ends, left[order], right[order])
        return similarity


class _Numbers:
    """64-bit numbers, in memory until they are written to a temporary file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="codeft-shingles-")  # noqa: SIM115  open as long as this object
        self._held = np.empty(0, dtype=np.uint64)
        self.num_held, self._num_in_file = 0, 0

    def room(self, size: int) -> npt.NDArray[np.uint64]:
        """Return ``size`` places behind the numbers that are held; add those that were filled to ``num_held``."""
        if self.num_held + size > len(self._held):
            held, self._held = self._held, np.empty(self.num_held + size, dtype=np.uint64)
            self._held[: self.num_held] = held[: self.num_held]
        return self._held[self.num_held : self.num_held + size]

    def write(self) -> None:
        self._held[: self.num_held].tofile(self._file)
        self._num_in_file += self.num_held
        self.num_held, self._held = 0, np.empty(0, dtype=np.uint64)

    def all(self) -> npt.NDArray[np.uint64]:
        if not self._num_in_file:
            return self._held[: self.num_held]
        self.write()
        self._file.flush()
        return np.asarray(np.memmap(self._file, dtype=np.uint64, mode="r", shape=(self._num_in_file,)))
