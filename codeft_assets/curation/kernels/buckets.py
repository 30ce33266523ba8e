"""Numba kernels of clustering: rows that share a key, a set of pairs, the greedy choice of representatives.

Keys are hashes: their upper and their lower bits are well mixed. They are grouped by their upper bits until a group and
its table fit into a core's second-level cache, then each group is looked through once. Measured on Zen 4, 14 bands of
10 million keys, one in five shared: 3.5 CPU seconds, against 11.7 for two bit maps and a sort of the remaining keys.
"""

import numba
import numpy as np

from codeft_assets.curation.kernels.hash_tables import find_slot, table_size

HASH_TABLES_KERNEL = "9c66c05a05fc8fc7"
"""Hash of hash_tables.py: numba keeps compiled code until this file changes, and so it must when that one does."""
FULL_BUCKET = 4
"""Rows of a bucket up to which every two become a pair: hardly more pairs than the linear rule, and none is missed."""
_GROUP_BITS = 14  # a group has about 2^14 to 2^15 keys of 8 bytes and a table of 2^16 places of 4 bytes: 512 kB
_HIGH, _ONE, _TOP_BIT = np.uint64(32), np.uint64(1), np.uint64(63)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing (Knuth 3, section 6.4)
_MIXED_BITS = np.uint64(20)  # of a product, the lower bits are badly mixed: a set may have 2^44 slots
_SMALLEST_TABLE = 16
_NONE = np.int32(-1)


@numba.njit(cache=True, nogil=True)
def _grouped(keys, part, part_bits, group_bits):
    """Return the keys of a part, grouped by the bits below it, their places in order, and where each group begins."""
    # Keys are shifted by one bit and then by the rest: a shift by 64 bits, of one part of one group, is undefined.
    shift = _TOP_BIT - np.uint64(part_bits + group_bits)
    bounds = np.zeros((1 << group_bits) + 1, dtype=np.int64)
    num_groups, first = len(bounds) - 1, np.int64(part) << group_bits
    # A counting sort: sizes of the groups, then their bounds, then each key to the next free place of its group.
    for key in keys:
        group = np.int64((key >> _ONE) >> shift) - first
        if 0 <= group < num_groups:
            bounds[group + 1] += 1
    for group in range(num_groups):
        bounds[group + 1] += bounds[group]
    free = bounds[:-1].copy()
    grouped, places = np.empty(bounds[-1], dtype=np.uint64), np.empty(bounds[-1], dtype=np.uint32)  # rows < 2^32
    for i in range(len(keys)):
        group = np.int64((keys[i] >> _ONE) >> shift) - first
        if 0 <= group < num_groups:
            grouped[free[group]], places[free[group]] = keys[i], i
            free[group] += 1
    return grouped, places, bounds


@numba.njit(cache=True, nogil=True)
def _find(table, keys, key):
    """Return the slot that holds the first row of ``key``, or the free one where it belongs.

    Not ``find_slot``: this table holds row numbers of four bytes instead of keys of eight, to stay in the cache.
    """
    # keys of a group share their upper bits: the lower ones decide
    mask = np.uint64(len(table) - 1)
    at = key & mask
    while table[at] != _NONE and keys[table[at]] != key:
        at = (at + _ONE) & mask
    return at


@numba.njit(cache=True, nogil=True)
def _group_bits(num_keys, part_bits):
    """Return the bits below a part's that divide its keys into groups of a cache's size."""
    group_bits = 0
    while num_keys >> (part_bits + group_bits) > 1 << (_GROUP_BITS + 1):
        group_bits += 1
    return group_bits


@numba.njit(cache=True, nogil=True)
def bucket_links(keys):
    """Return each row whose key a row before it has, and the first of these rows."""
    keys, places, bounds = _grouped(keys, 0, 0, _group_bits(len(keys), 0))
    table = np.empty(table_size(np.max(np.diff(bounds)), _SMALLEST_TABLE), dtype=np.int32)
    later, first = np.empty((2, len(keys)), dtype=np.uint32)
    count = 0
    for group in range(len(bounds) - 1):
        begin, end = bounds[group], bounds[group + 1]
        slots = table[: table_size(end - begin, _SMALLEST_TABLE)]
        slots[:] = _NONE
        for i in range(end - begin):
            at = _find(slots, keys[begin:end], keys[begin + i])
            if slots[at] == _NONE:
                slots[at] = i
                continue
            later[count], first[count] = places[begin + i], places[begin + slots[at]]
            count += 1
    return later[:count].copy(), first[:count].copy()


@numba.njit(cache=True, nogil=True)
def bucket_pairs(keys, part, part_bits):
    """Return pairs of rows that share a key whose upper ``part_bits`` are ``part``; ``later << 32 | earlier`` each.

    A row is paired with every row before it in its bucket while these are fewer than ``FULL_BUCKET``, else with the
    first and the one before it: linear in the bucket's size, so that a key shared by 10^5 rows costs 2 x 10^5 pairs
    and not 5 x 10^9.
    """
    keys, places, bounds = _grouped(keys, part, part_bits, _group_bits(len(keys), part_bits))
    longest = np.max(np.diff(bounds))
    table = np.empty(table_size(longest, _SMALLEST_TABLE), dtype=np.int32)
    # Of each row the one before it in its bucket; of each bucket, by its first row, its last row and its size.
    before, last, size = np.empty((3, longest), dtype=np.int32)
    # The rows of a bucket add 0, 1, 2 and 3 pairs, then 2 each: never more than two a row.
    pairs, count = np.empty(2 * len(keys), dtype=np.uint64), 0
    for group in range(len(bounds) - 1):
        begin, end = bounds[group], bounds[group + 1]
        slots = table[: table_size(end - begin, _SMALLEST_TABLE)]
        slots[:] = _NONE
        for i in range(end - begin):
            at = _find(slots, keys[begin:end], keys[begin + i])
            first = slots[at]
            if first == _NONE:
                slots[at], last[i], size[i] = i, i, 1
                continue
            later, earlier = np.uint64(places[begin + i]) << _HIGH, last[first]
            before[i], last[first] = earlier, i
            for _ in range(size[first] if size[first] < FULL_BUCKET else 1):
                pairs[count] = later | np.uint64(places[begin + earlier])
                earlier = before[earlier]
                count += 1
            if size[first] >= FULL_BUCKET:
                pairs[count] = later | np.uint64(places[begin + first])
                count += 1
            size[first] += 1
    return pairs[:count].copy()


@numba.njit(cache=True, nogil=True)
def add_pairs(table, pairs):
    """Add ``pairs`` to a set and return how many were new; ``table`` has room for them and 0 at free places."""
    num_new = 0
    for pair in pairs:
        # Pairs are no hashes: neighbors differ in a bit or two. None is 0, for ``later`` is 1 or more.
        slot = find_slot(table, pair, (pair * _GOLDEN) >> _MIXED_BITS)
        num_new += table[slot] == 0
        table[slot] = pair
    return num_new


@numba.njit(cache=True, nogil=True)
def choose_representatives(num_documents, first, second, similar):
    """Return the representative of each document: a kept document that it is similar to, -1 if it is kept itself.

    Pairs are ``(first, second)`` with ``second < first``, sorted by ``first``; documents are numbered by rank, so that
    every ``second`` is decided before its ``first``.
    """
    representative = np.full(num_documents, -1, dtype=np.int64)
    for pair in range(len(first)):
        document, other = first[pair], second[pair]
        if similar[pair] and representative[document] == -1 and representative[other] == -1:
            representative[document] = other
    return representative
