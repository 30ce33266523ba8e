"""Numba kernels that find the shingles of a text: a few neighboring words, hashed to 64 bits.

``words`` defines a word; folding digits would make every GSM8K problem a duplicate of its variants, measured 1.000
against 0.001.
"""

import numba
import numpy as np

from codeft_assets.curation.kernels.words import (
    AT_ONCE,
    edges_scratch,
    find_edges,
    hash_end,
    hash_rest,
    hash_start,
    next_part,
    padded,
    readable,
)

WORDS_KERNEL = "220403d4d2216761"
"""Hash of words.py: numba keeps compiled code until this file changes, and so it must when that one does."""
_ONE, _SHIFT, _WORD_BITS = np.uint64(1), np.uint64(33), np.uint64(64)
_FACTOR = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's: hashes of words are mixed already, their sum but once
_ROTATION = 13  # bits; prime to 64, so that no two of 64 places in a shingle rotate alike
_USUAL_WIDTH = 5
PART_BYTES = 1 << 14
"""A part, its edges and its hashes stay in a core's second-level cache."""
_STEP = 512  # shingles: 4 kB, an eighth of the first-level cache


@numba.njit(cache=True, nogil=True)
def hash_words(folded, edges, num_words, long_words, out):
    """Write the hash of each word of a part to ``out``.

    The first bytes of all words are hashed before the rest of the few long ones: a branch for each word would often be
    mispredicted.
    """
    num_long = 0
    for i in range(num_words):
        out[i] = hash_start(folded, edges[2 * i], edges[2 * i + 1])
        # written for every word, counted for long ones: a store costs less than a branch that is mispredicted
        long_words[num_long] = i
        num_long += edges[2 * i + 1] - edges[2 * i] > AT_ONCE
    for i in long_words[:num_long]:
        out[i] = hash_rest(folded, edges[2 * i], edges[2 * i + 1], out[i])
    for i in range(num_words):
        out[i] = hash_end(out[i])


@numba.njit(cache=True, nogil=True)
def _words(data, start, end, scratch, out):
    """Write the hash of each word of ``data[start:end]`` to ``out`` and return their number."""
    num_words, (folded, edges, long_words) = 0, scratch
    while start < end:
        stop = next_part(data, start, end, PART_BYTES)
        num_found = find_edges(data, start, stop, folded, edges)
        hash_words(folded, edges, num_found, long_words, out[num_words:])
        num_words += num_found
        start = stop
    return num_words


@numba.njit(cache=True, nogil=True)
def _combine(out, num_words, width):
    """Turn word hashes into the hashes of their ``width``-shingles in place; return their number.

    The rotated words are added without carry, ``_STEP`` shingles at a time, so that it becomes vector instructions.
    """
    num_shingles = max(num_words - width + 1, 0)
    step = np.empty(_STEP, dtype=np.uint64)
    for first in range(0, num_shingles, _STEP):
        size = min(_STEP, num_shingles - first)
        step[:size] = out[first : first + size]
        for place in range(1, width):
            # Rotated by its place, a word that stands twice does not cancel itself, and the order of words counts.
            left = np.uint64(place * _ROTATION % 64)
            right = (_WORD_BITS - left) % _WORD_BITS
            for i in range(size):
                word = out[first + place + i]
                step[i] ^= (word << left) | (word >> right)
        for i in range(size):
            # never 0, which marks a free slot in a table; MinHash reads the upper half only
            out[first + i] = ((step[i] ^ (step[i] >> _SHIFT)) * _FACTOR) | _ONE
    return num_shingles


@numba.njit(cache=True, nogil=True)
def combine(out, num_words, width):
    """Do what ``_combine`` does; LLVM unrolls a width that it knows when it compiles: a third of the time."""
    if width == _USUAL_WIDTH:
        return _combine(out, num_words, _USUAL_WIDTH)
    if width == _USUAL_WIDTH - 1:
        return _combine(out, num_words, _USUAL_WIDTH - 1)
    return _combine(out, num_words, width)


@numba.njit(cache=True, nogil=True)
def shingle(data, start, end, width, scratch, out):
    """Write the hashes of all shingles of ``data[start:end]`` to ``out`` and return their number.

    Args:
        data: bytes of many texts.
        start: where the text begins.
        end: where it ends.
        width: words a shingle.
        scratch: ``words_scratch`` for the longest of the texts.
        out: at least half as many places as the text has bytes, and one more.
    """
    if readable(data, end):
        num_words = _words(data, start, end, scratch, out)
    else:
        num_words = _words(padded(data, start, end), 0, end - start, scratch, out)
    return combine(out, num_words, width)


@numba.njit(cache=True, nogil=True)
def words_scratch(longest):
    """Return room for the folded bytes of a part, the edges of its words, and the numbers of its long words."""
    folded, edges = edges_scratch(longest, PART_BYTES)
    return folded, edges, np.empty(len(edges), dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def longest_document(offsets):
    """Return the bytes of the longest document."""
    longest = np.int64(0)
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest
