"""Open addressing with linear probing, as the kernels share it: how large a table is, and where a value belongs.

A table is an array of 64-bit hashes whose length is a power of two; 0 marks a free slot, so no value may be 0.

numba's cache sees a change of a compiled function's own file only. A file of kernels that imports from another holds
the hash of that file's bytes, and a test fails when it is out of date: writing the new one makes numba compile again.
"""

import numba
import numpy as np

_ONE = np.uint64(1)


@numba.njit(cache=True, nogil=True)
def table_size(num_values, smallest):
    """Return the slots of a table for ``num_values``: a power of two, at least ``smallest``, at most half full."""
    # A power of two, for a mask is cheaper than a remainder. Half full, linear probing looks at 1.5 slots to find a
    # value and at 2.5 to miss one (Knuth, The Art of Computer Programming 3, section 6.4).
    size = smallest
    while size < 2 * num_values:
        size *= 2
    return size


@numba.njit(cache=True, nogil=True)
def find_slot(table, value, start):
    """Return the slot that holds ``value``, or the free one where it belongs.

    Args:
        table: Hashes, 0 where free; never full, or the search for a missing value would not end.
        value: A hash other than 0.
        start: uint64 that decides the first slot by its lowest bits: the hash, or its better mixed part.
    """
    mask = np.uint64(len(table) - 1)
    slot = start & mask
    while table[slot] != 0 and table[slot] != value:
        slot = (slot + _ONE) & mask
    return slot
