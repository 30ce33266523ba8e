"""Numba kernels of MinHash: the band keys of documents over Arrow string buffers."""

import numba
import numpy as np

from codeft_assets.curation.kernels.shingles import longest_document, shingle, words_scratch
from codeft_assets.curation.kernels.words import mix

SHINGLES_KERNEL = "42788ba0850f1ccc"
"""Hash of shingles.py: numba keeps compiled code until this file changes, and so it must when that one does."""
WORDS_KERNEL = "220403d4d2216761"
"""Hash of words.py, for the same reason."""
_PRIME, _HIGH = np.uint64(1099511628211), np.uint64(32)  # FNV's 64-bit prime


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
def band_keys(data, offsets, width, factors, num_bands):
    """Return the number and the sum of the shingles and the band keys of each document; all 0 without shingles."""
    num_documents, num_hashes = len(offsets) - 1, len(factors)
    rows = num_hashes // num_bands
    # a word takes a byte and a separator: n bytes hold at most (n + 1) / 2 words, and no more shingles
    longest = longest_document(offsets)
    scratch, shingles = words_scratch(longest), np.empty(longest // 2 + 2, dtype=np.uint64)
    counts, sums = np.zeros(num_documents, dtype=np.uint32), np.zeros(num_documents, dtype=np.uint64)
    keys = np.zeros((num_bands, num_documents), dtype=np.uint64)
    minima = np.empty(num_hashes, dtype=np.uint32)
    for document in range(num_documents):
        num_shingles = shingle(data, offsets[document], offsets[document + 1], width, scratch, shingles)
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
