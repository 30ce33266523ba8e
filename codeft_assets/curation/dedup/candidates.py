"""Candidate pairs: documents that share a band key, one band in memory at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from codeft_assets.curation.dedup.pairs import Pairs, Rows, unpack_pairs
from codeft_assets.curation.kernels.buckets import add_pairs, bucket_pairs

BandKeys = Callable[[int], npt.NDArray[np.uint64]]
"""Returns the keys of one band, one per document."""

MAX_KEYS = 1 << 24
"""Band keys that are grouped at a time; bounds the memory of grouping at about 40 bytes a key."""


def candidate_pairs(
    rows: Rows,
    band_keys: BandKeys,
    num_bands: int,
    max_keys: int = MAX_KEYS,
    salt: npt.NDArray[np.uint64] | None = None,
) -> tuple[Rows, Rows]:
    """Return the distinct pairs ``(later, earlier)`` of positions in ``rows`` whose documents share a band key.

    One band is in memory at a time, and of that band only the keys of one part are grouped at a time.

    Args:
        rows: Documents that take part, as positions in the result of ``band_keys``; better ranked ones first.
        band_keys: Keys of one band.
        num_bands: How many bands there are.
        max_keys: About how many keys to group at a time.
        salt: A number for each of ``rows``, equal in each language: of the many documents that share a key each is
            paired with two only, so those of one language are paired among themselves, too.
    """
    found = _PairSet()
    part_bits = max(-(-len(rows) // max_keys) - 1, 0).bit_length()
    for band in range(num_bands):
        keys = band_keys(band)[rows]
        for part in range(1 << part_bits):
            found.add(bucket_pairs(keys, part, part_bits))
            if salt is not None:
                found.add(bucket_pairs(keys ^ salt, part, part_bits))
    return unpack_pairs(found.sorted())


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
