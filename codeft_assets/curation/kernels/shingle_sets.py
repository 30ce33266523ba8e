"""Numba kernels of shingle sets: the distinct shingles of a text with what stands between their words, and Jaccard."""

import numba
import numpy as np

from codeft_assets.curation.kernels.hash_tables import find_slot, table_size
from codeft_assets.curation.kernels.shingles import combine, longest_document, shingle
from codeft_assets.curation.kernels.structure import PROSE, hash_and_mark, marks_scratch

HASH_TABLES_KERNEL = "9c66c05a05fc8fc7"
"""Hash of hash_tables.py: numba keeps compiled code until this file changes, and so it must when that one does."""
SHINGLES_KERNEL = "42788ba0850f1ccc"
"""Hash of shingles.py, for the same reason."""
STRUCTURE_KERNEL = "3cad7f6df1a65180"
"""Hash of structure.py, for the same reason."""
_ONE, _COUNT, _COUNT_BITS = np.uint64(1), np.uint64(0xFFFF), np.uint64(16)
_SMALLEST_TABLE, _FREE = 16, np.int32(-1)


@numba.njit(cache=True, nogil=True, inline="always")
def _find(table, flat, shingle_hash):
    """Return the slot that holds the place of ``shingle_hash`` in ``flat``, or the free one where it belongs.

    Not ``_find_hash``: places take half the memory of hashes, and the shingles of one document stay in the cache.
    """
    mask = np.uint64(len(table) - 1)
    at = (shingle_hash >> _ONE) & mask
    while table[at] != _FREE and flat[table[at]] != shingle_hash:
        at = (at + _ONE) & mask
    return at


@numba.njit(cache=True, nogil=True)
def _shingle_and_mark(data, start, end, width, style, scratch, shingles, marks):
    """Write the shingles of ``data[start:end]``, and the mark of each; return their number.

    The lower 16 bits of a mark are 1, to count by sums; those of prose are 0.
    """
    if style == PROSE or width == 1:
        num_shingles = shingle(data, start, end, width, scratch[0], shingles)
        marks[:num_shingles] = 0
        return num_shingles
    num_words = hash_and_mark(data, start, end, style, scratch, shingles, marks)
    num_shingles = combine(shingles, num_words, width)
    gaps = marks[1:]  # what stands before the first word of a shingle is no part of it
    combine(gaps, num_words - 1, width - 1)
    for i in range(num_shingles):
        marks[i] = (gaps[i] << _COUNT_BITS) | _ONE
    return num_shingles


@numba.njit(cache=True, nogil=True)
def shingle_sets(data, offsets, width, styles, flat):
    """Write the distinct shingles of each document to ``flat``, each with the sum of its marks; return the bounds.

    Args:
        data: Bytes of many texts.
        offsets: Document ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        width: Words a shingle.
        styles: What counts between words of each document (``structure``); of ``PROSE`` the sums are 0.
        flat: ``room_for_shingles(offsets)`` places: a shingle, its sum, the next shingle.
    """
    num_documents, longest = len(offsets) - 1, longest_document(offsets)
    shingles, marks = np.empty((2, longest // 2 + 3), dtype=np.uint64)
    scratch, room = marks_scratch(longest), np.empty(_SMALLEST_TABLE, dtype=np.int32)
    bounds, used = np.zeros(num_documents + 1, dtype=np.int64), 0
    for document in range(num_documents):
        start, end, style = offsets[document], offsets[document + 1], styles[document]
        num_shingles = _shingle_and_mark(data, start, end, width, style, scratch, shingles, marks)
        own, num_distinct = flat[used:], 0
        size = table_size(num_shingles, _SMALLEST_TABLE)
        if size > len(room):
            room = np.empty(size, dtype=np.int32)
        table = room[:size]  # as small as the document allows, to be cleared fast and to stay in the cache
        table[:] = _FREE
        for i in range(num_shingles):
            at = _find(table, own, shingles[i])
            place = table[at]
            if place == _FREE:
                table[at] = place = 2 * num_distinct
                own[place], own[place + 1] = shingles[i], 0
                num_distinct += 1
            own[place + 1] += marks[i]
        used += 2 * num_distinct
        bounds[document + 1] = used
    return bounds


def room_for_shingles(offsets):
    """Return more places than the documents need; numpy gives room that takes no memory before it is written to."""
    return int(offsets[-1] - offsets[0]) + 2 * len(offsets) + 2


@numba.njit(cache=True, nogil=True, inline="always")
def _differ(left, right):
    """Return whether as many marks, each of which counts 1 in the lower 16 bits, have another sum."""
    return left != right and (left ^ right) & _COUNT == 0


@numba.njit(cache=True, nogil=True, inline="always")  # a quarter of the time
def _find_hash(table, shingle_hash):
    """Return the slot of ``shingle_hash``; its lowest bit is always 1 and would leave every other slot empty."""
    return find_slot(table, shingle_hash, shingle_hash >> _ONE)


@numba.njit(cache=True, nogil=True)
def pairwise_jaccard(flat, begins, ends, left, right):
    """Return the Jaccard similarity of the sets of each pair, 0 where a shared shingle's marks differ.

    Pairs with one ``right`` should be neighbors.
    """
    similarity = np.zeros(len(left), dtype=np.float32)
    # hashes beside their places, unlike ``_find``: sets were written long ago, and looking into them misses the caches
    room, places = np.zeros(_SMALLEST_TABLE, dtype=np.uint64), np.zeros(_SMALLEST_TABLE, dtype=np.int32)
    table, held = room, np.int64(-1)
    for pair in range(len(left)):
        i, i_end = begins[left[pair]], ends[left[pair]]
        j, j_end = begins[right[pair]], ends[right[pair]]
        if min(i_end - i, j_end - j) == 0:
            continue
        if right[pair] != held:  # the table of ``right`` serves all its pairs that follow one another
            size = table_size((j_end - j) // 2, _SMALLEST_TABLE)
            if size > len(room):
                room, places = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.int32)
            table, held = room[:size], right[pair]
            table[:] = 0
            for at in range(j, j_end, 2):
                slot = _find_hash(table, flat[at])
                table[slot], places[slot] = flat[at], at - j
        shared, other_marks = 0, 0
        for at in range(i, i_end, 2):
            slot = _find_hash(table, flat[at])
            if table[slot] != 0:
                shared += 1
                other_marks += _differ(flat[at + 1], flat[j + places[slot] + 1])
        if not other_marks:
            similarity[pair] = shared / ((i_end - i + j_end - j) // 2 - shared)
    return similarity
