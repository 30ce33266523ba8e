"""Candidate pairs: documents that share a band key, one band in memory at a time.

A pair of rows is one number, ``later << 32 | earlier`` with ``later > earlier``, so that sorted pairs are in the order
in which the greedy choice decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from codeft_assets.curation.kernels.buckets import add_pairs, bucket_pairs

Rows = npt.NDArray[np.int64]

Pairs = npt.NDArray[np.uint64]
"""Sorted, distinct pairs of row numbers: ``later << 32 | earlier``, ``later > earlier``."""

BandKeys = Callable[[int], npt.NDArray[np.uint64]]
"""Returns one band's keys, a document each."""

MAX_KEYS = 1 << 24
"""Band keys that are grouped at a time; bounds the memory of grouping at about 40 bytes a key."""

_HALF, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


def candidate_pairs(rows: Rows, band_keys: BandKeys, num_bands: int, max_keys: int = MAX_KEYS) -> tuple[Rows, Rows]:
    """Return the distinct pairs ``(later, earlier)`` of positions in ``rows`` whose documents share a band key.

    One band is in memory at a time, and of that band only the keys of one part are grouped at a time.

    Args:
        rows: Documents that take part, as positions in what ``band_keys`` returns; better ranked ones first.
        band_keys: Keys of one band.
        num_bands: How many bands there are.
        max_keys: About how many keys to group at a time.
    """
    found = _PairSet()
    part_bits = max(-(-len(rows) // max_keys) - 1, 0).bit_length()
    for band in range(num_bands):
        keys = band_keys(band)[rows]
        for part in range(1 << part_bits):
            found.add(bucket_pairs(keys, part, part_bits))
    return halves(found.sorted())


class _PairSet:
    """Distinct pairs in a table that is at most half full."""

    def __init__(self) -> None:
        self._table, self._num_pairs = np.zeros(1 << 10, dtype=np.uint64), 0

    def add(self, pairs: Pairs) -> None:
        if (needed := 2 * (self._num_pairs + len(pairs))) > len(self._table):
            held, self._table = self._held(), np.zeros(1 << needed.bit_length(), dtype=np.uint64)
            add_pairs(self._table, held)
        self._num_pairs += add_pairs(self._table, pairs)

    def _held(self) -> Pairs:
        return self._table[self._table != 0]

    def sorted(self) -> Pairs:
        pairs = self._held()
        pairs.sort()
        return pairs


def _distinct(pairs: Pairs) -> Pairs:
    """Sort and drop repeats; ``np.unique`` of numpy 2.4 hashes integers, 19 times slower (2.8 M pairs, measured)."""
    pairs.sort()
    return pairs[np.diff(pairs, prepend=~pairs[:1]) != 0]


def halves(pairs: Pairs) -> tuple[Rows, Rows]:
    """Return the later and the earlier row of each pair."""
    return (pairs >> _HALF).astype(np.int64), (pairs & _LOWER).astype(np.int64)


def numbered(later: Rows, earlier: Rows) -> Pairs:
    """Return the number of each pair."""
    return later.astype(np.uint64) << _HALF | earlier.astype(np.uint64)


def distinct_pairs(one: Rows, other: Rows) -> Pairs:
    """Return the pairs of ``one[i]`` and ``other[i]``, whichever is the later; none twice, no row with itself."""
    return _distinct(numbered(np.maximum(one, other), np.minimum(one, other))[one != other])
