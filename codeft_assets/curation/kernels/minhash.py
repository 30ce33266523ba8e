"""Numba kernels over Arrow string buffers: word shingles, MinHash band keys, exact Jaccard.

A shingle is a few neighboring words (``words`` defines a word; folding digits would make every GSM8K
problem a duplicate of its variants, measured 1.000 against 0.001), hashed to 64 bits.
"""

import numba
import numpy as np

from codeft_assets.curation.kernels.hash_tables import find_slot, table_size
from codeft_assets.curation.kernels.words import (
    AT_ONCE,
    READ_AHEAD,
    find_edges,
    hash_end,
    hash_rest,
    hash_start,
    mix,
    next_part,
    padded,
    readable,
)

WORDS_KERNEL = "3cd5bf217994a116"
"""Hash of words.py: numba keeps compiled code until this file changes, and so it must when that one does."""
HASH_TABLES_KERNEL = "9c66c05a05fc8fc7"
"""Hash of hash_tables.py, for the same reason."""
_PRIME = np.uint64(1099511628211)  # FNV's 64-bit prime
_HIGH, _ONE, _WORD_BITS = np.uint64(32), np.uint64(1), np.uint64(64)
_COUNT = np.uint64(0xFFFF)
_ROTATION = 13  # bits; prime to 64, so that no two of 64 places in a shingle rotate alike
_USUAL_WIDTH = 5
_PART_BYTES = 1 << 14  # a part, its edges and its hashes stay in a core's second-level cache
_STEP = 512  # shingles: 4 kB, an eighth of the first-level cache
_SMALLEST_TABLE = 16


@numba.njit(cache=True, nogil=True)
def _words(data, start, end, edges, out):
    """Write the hash of each word of ``data[start:end]`` to ``out`` and return their number.

    The first bytes of all words of a part are hashed before the rest of the few long ones: a branch for each word would
    often be mispredicted.
    """
    num_words, long_words = 0, edges[len(edges) // 2 :]
    while start < end:
        stop = next_part(data, start, end, _PART_BYTES)
        num_found, num_long, found = find_edges(data, start, stop, edges), 0, out[num_words:]
        for i in range(num_found):
            found[i] = hash_start(data, edges[2 * i], edges[2 * i + 1])
            # written for every word, counted for long ones: a store costs less than a branch that is mispredicted
            long_words[num_long] = i
            num_long += edges[2 * i + 1] - edges[2 * i] > AT_ONCE
        for i in long_words[:num_long]:
            found[i] = hash_rest(data, edges[2 * i], edges[2 * i + 1], found[i])
        for i in range(num_found):
            found[i] = hash_end(found[i])
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
            out[first + i] = mix(step[i]) | _ONE
    return num_shingles


@numba.njit(cache=True, nogil=True)
def shingle(data, start, end, width, edges, out):
    """Write the hashes of all shingles of ``data[start:end]`` to ``out`` and return their number.

    Args:
        data: bytes of many texts.
        start: where the text begins.
        end: where it ends.
        width: words a shingle.
        edges: scratch, ``edges_scratch()``.
        out: at least half as many places as the text has bytes, and one more.
    """
    if readable(data, end):
        num_words = _words(data, start, end, edges, out)
    else:
        num_words = _words(padded(data, start, end), 0, end - start, edges, out)
    if width == _USUAL_WIDTH:  # LLVM unrolls a width that it knows when it compiles: a third of the time
        return _combine(out, num_words, _USUAL_WIDTH)
    return _combine(out, num_words, width)


@numba.njit(cache=True, nogil=True)
def edges_scratch():
    """Return room for the edges of the words of one part, and in its second half for the numbers of long words."""
    return np.empty(2 * (_PART_BYTES + READ_AHEAD), dtype=np.int64)


@numba.njit(cache=True, nogil=True, inline="always")
def _least(a, b, c, d, factor):
    return min(min(np.uint32(a * factor), np.uint32(b * factor)), min(np.uint32(c * factor), np.uint32(d * factor)))


@numba.njit(cache=True, nogil=True)
def _lower_minima(shingles, num_shingles, factors, minima):
    """Lower each permutation's minimum: eight shingles a step, 32-bit lanes, so that it becomes vector instructions.

    A permutation is a multiplication by an odd factor. A term added to it takes a third more time and changes nothing:
    the mean share of equal minima is the Jaccard similarity within 0.002 either way (4,000 pairs of 16 to 4,000
    shingles). Measured on Zen 4: 375 M shingles a second for 112 permutations; 250 M with a term and four a step, 59 M
    with 64-bit products one by one.
    """
    # uint32 products wrap modulo 2^32: an odd factor has an inverse there, so multiplication permutes the numbers.
    at = 0
    while at + 8 <= num_shingles:
        a, b = np.uint32(shingles[at] >> _HIGH), np.uint32(shingles[at + 1] >> _HIGH)
        c, d = np.uint32(shingles[at + 2] >> _HIGH), np.uint32(shingles[at + 3] >> _HIGH)
        e, f = np.uint32(shingles[at + 4] >> _HIGH), np.uint32(shingles[at + 5] >> _HIGH)
        g, h = np.uint32(shingles[at + 6] >> _HIGH), np.uint32(shingles[at + 7] >> _HIGH)
        for j in range(len(factors)):
            factor = factors[j]
            minima[j] = min(minima[j], min(_least(a, b, c, d, factor), _least(e, f, g, h, factor)))
        at += 8
    while at < num_shingles:
        a = np.uint32(shingles[at] >> _HIGH)
        for j in range(len(factors)):
            minima[j] = min(minima[j], np.uint32(a * factors[j]))
        at += 1


@numba.njit(cache=True, nogil=True)
def _longest(offsets):
    longest = np.int64(0)
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest


@numba.njit(cache=True, nogil=True)
def band_keys(data, offsets, width, factors, num_bands):
    """Return the number and the sum of the shingles and the band keys of each document; all 0 without shingles."""
    num_documents, num_hashes = len(offsets) - 1, len(factors)
    rows = num_hashes // num_bands
    # a word takes a byte and a separator: n bytes hold at most (n + 1) / 2 words, and no more shingles
    edges, shingles = edges_scratch(), np.empty(_longest(offsets) // 2 + 2, dtype=np.uint64)
    counts, sums = np.zeros(num_documents, dtype=np.uint32), np.zeros(num_documents, dtype=np.uint64)
    keys = np.zeros((num_bands, num_documents), dtype=np.uint64)
    minima = np.empty(num_hashes, dtype=np.uint32)
    for document in range(num_documents):
        num_shingles = shingle(data, offsets[document], offsets[document + 1], width, edges, shingles)
        counts[document] = num_shingles
        if num_shingles == 0:
            continue
        sums[document] = shingles[:num_shingles].sum()
        minima[:] = np.uint32(0xFFFFFFFF)  # the largest: any hash lowers it
        _lower_minima(shingles, num_shingles, factors, minima)
        for band in range(num_bands):
            key = np.uint64(band + 1)  # equal minima in two bands give different keys
            for row in range(rows):
                key = mix(key ^ np.uint64(minima[band * rows + row])) * _PRIME
            keys[band, document] = key
    return counts, sums, keys


@numba.njit(cache=True, nogil=True, inline="always")
def _find(table, shingle_hash):
    """Return the slot of ``shingle_hash``; its lowest bit is always 1 and would leave every other slot empty."""
    return find_slot(table, shingle_hash, shingle_hash >> _ONE)


@numba.njit(cache=True, nogil=True)
def shingle_sets(data, offsets, width, marks, mark_bounds):
    """Return the distinct shingles of each document in one flat array, the sums of their marks, and the bounds.

    Args:
        data: Bytes of many texts.
        offsets: Document ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        width: Words a shingle.
        marks: A number for each shingle, ``structure.shingle_marks``; a document may have none.
        mark_bounds: Marks of document ``i`` are ``marks[mark_bounds[i]:mark_bounds[i + 1]]``.
    """
    num_documents = len(offsets) - 1
    bounds = np.zeros(num_documents + 1, dtype=np.int64)
    # room for the shingles of all documents; those of the next are written behind the distinct ones of the last
    flat = np.empty((offsets[-1] - offsets[0]) // 2 + num_documents + 2, dtype=np.uint64)
    sums, slots = np.empty(len(flat), dtype=np.uint64), np.empty(_longest(offsets) // 2 + 2, dtype=np.int32)
    room, marks_room = np.zeros(_SMALLEST_TABLE, dtype=np.uint64), np.zeros(_SMALLEST_TABLE, dtype=np.uint64)
    edges, used = edges_scratch(), 0
    for document in range(num_documents):
        num_shingles = shingle(data, offsets[document], offsets[document + 1], width, edges, flat[used:])
        size, first = table_size(num_shingles, _SMALLEST_TABLE), used
        if size > len(room):
            room, marks_room = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.uint64)
        # as small as the document allows, to be cleared fast and to stay in the cache
        table, sum_of_slot = room[:size], marks_room[:size]
        table[:], sum_of_slot[:] = 0, 0
        own = marks[mark_bounds[document] : mark_bounds[document + 1]]
        for i in range(num_shingles):
            at = _find(table, flat[first + i])
            if len(own):
                sum_of_slot[at] += own[i]
            if table[at] == 0:
                table[at] = flat[first + i]
                flat[used] = flat[first + i]  # ``used`` never passes ``first + i``
                slots[used - first] = at
                used += 1
        for i in range(used - first):
            sums[first + i] = sum_of_slot[slots[i]]
        bounds[document + 1] = used
    return flat[:used].copy(), sums[:used].copy(), bounds  # a slice would hold the room of all shingles


@numba.njit(cache=True, nogil=True, inline="always")
def _differ(left, right):
    """Return whether as many marks, each of which counts 1 in the lower 16 bits, have another sum."""
    return left != right and (left ^ right) & _COUNT == 0


@numba.njit(cache=True, nogil=True)
def pairwise_jaccard(flat, sums, begins, ends, left, right):
    """Return the Jaccard similarity of the sets of each pair, 0 where a shared shingle's marks differ.

    Pairs with one ``right`` should be neighbors.
    """
    similarity = np.zeros(len(left), dtype=np.float32)
    room, places = np.zeros(_SMALLEST_TABLE, dtype=np.uint64), np.zeros(_SMALLEST_TABLE, dtype=np.int64)
    table, held = room, np.int64(-1)
    for pair in range(len(left)):
        i, i_end = begins[left[pair]], ends[left[pair]]
        j, j_end = begins[right[pair]], ends[right[pair]]
        if min(i_end - i, j_end - j) == 0:
            continue
        if right[pair] != held:  # the table of ``right`` serves all its pairs that follow one another
            size = table_size(j_end - j, _SMALLEST_TABLE)
            if size > len(room):
                room, places = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.int64)
            table, held = room[:size], right[pair]
            table[:] = 0
            for at in range(j, j_end):
                slot = _find(table, flat[at])
                table[slot], places[slot] = flat[at], at
        shared, other_marks = 0, 0
        for at in range(i, i_end):
            slot = _find(table, flat[at])
            if table[slot] != 0:
                shared += 1
                other_marks += _differ(sums[at], sums[places[slot]])
        if not other_marks:
            similarity[pair] = shared / ((i_end - i) + (j_end - j) - shared)
    return similarity
