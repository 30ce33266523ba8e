"""The compiled half of the embedding and the linear model: hashed words and word pairs of a document, counted.

Invariant: a document's row depends on its first 20,000 bytes only; scratch counts are cleared after each document.
"""

from __future__ import annotations

import numba
import numpy as np

from codeft_assets.curation.kernels.byte_classes import FNV_OFFSET, FNV_PRIME, FOLDED

BYTE_CLASSES_KERNEL = "319fb8d913221b2b"
"""Hash of byte_classes.py: numba keeps compiled code until this file changes, and so it must when that one does."""
NUM_BUCKETS = 1 << 13  # of the embedding: counts of one document, 32 kB, stay in the first-level cache
NUM_LINEAR_BUCKETS = 1 << 18  # of the linear model, where each bucket has its own weight; fastText takes 2 million
_MAX_BYTES = 20_000  # the beginning shows the topic of a document, and long documents cost no more
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing, read from the top bits


@numba.njit(cache=True, nogil=True)
def _count_document(data, start, end, counts, touched):
    """Count the hashed words and pairs of one document into ``counts``; return how many buckets were touched."""
    num_touched, before, at = 0, np.uint64(0), start
    # A product's upper bits depend on all bits of the hash, its lower ones on few: as many upper bits as buckets need.
    shift = np.uint64(64 - int(np.round(np.log2(counts.size))))
    while at < end:
        key = FNV_OFFSET
        while at < end and FOLDED[data[at]]:
            key = (key ^ np.uint64(FOLDED[data[at]])) * FNV_PRIME
            at += 1
        if key == FNV_OFFSET:  # no word begins here: a word would have changed it
            at += 1
            continue
        # The word, and it behind the one before it: multiplied once more, "a b" is another pair than "b a". The first
        # word has none before it and counts twice.
        for hashed in (key * _GOLDEN, (before + key) * _GOLDEN):
            bucket = hashed >> shift
            if counts[bucket] == 0:
                touched[num_touched] = bucket
                num_touched += 1
            counts[bucket] += 1
        before = key * _GOLDEN
    return num_touched


@numba.njit(cache=True, nogil=True)
def bucket_counts(data, offsets, num_buckets):
    """Return the counts of all documents in ``num_buckets``, a power of two, as the three arrays of a CSR matrix."""
    counts, touched = np.zeros(num_buckets, dtype=np.int32), np.zeros(num_buckets, dtype=np.int32)
    indptr = np.zeros(offsets.size, dtype=np.int64)
    # n bytes hold at most (n + 1) / 2 words; each after the first adds a pair: n buckets at most
    indices = np.empty(min(data.size, (offsets.size - 1) * _MAX_BYTES) + 1, dtype=np.int32)
    values = np.empty(indices.size, dtype=np.int32)
    filled = 0
    for document in range(offsets.size - 1):
        start = offsets[document]
        num_touched = _count_document(data, start, min(offsets[document + 1], start + _MAX_BYTES), counts, touched)
        for at in range(num_touched):
            indices[filled], values[filled] = touched[at], counts[touched[at]]
            counts[touched[at]] = 0  # touched buckets only: clearing all would cost more than a short document
            filled += 1
        indptr[document + 1] = filled
    return values[:filled], indices[:filled], indptr


# fastmath lets sums be reordered into vector instructions: a vector may differ in its last bits between CPUs
@numba.njit(cache=True, nogil=True, fastmath=True)
def project(data, offsets, weights, components):
    """Return the unit vectors of all documents."""
    counts, touched = np.zeros(NUM_BUCKETS, dtype=np.int32), np.zeros(NUM_BUCKETS, dtype=np.int32)
    vectors = np.zeros((offsets.size - 1, components.shape[1]), dtype=np.float32)
    for document in range(offsets.size - 1):
        start, vector = offsets[document], vectors[document]
        num_touched = _count_document(data, start, min(offsets[document + 1], start + _MAX_BYTES), counts, touched)
        for at in range(num_touched):
            bucket = touched[at]
            # logarithmic counts: ten occurrences carry little more information than two
            weight = weights[bucket] * np.float32(1 + np.log(np.float32(counts[bucket])))
            counts[bucket] = 0
            for dimension in range(vector.size):
                vector[dimension] += weight * components[bucket, dimension]
        norm = np.sqrt(np.sum(vector * vector))
        if norm > 0:  # a text without words stays 0
            vector /= norm
    return vectors


@numba.njit(cache=True, nogil=True)
def linear_predictions(data, offsets, weights, coefficients):
    """Return each document's unit vector of weighted counts times ``coefficients``."""
    counts, touched = np.zeros(weights.size, dtype=np.int32), np.zeros(weights.size, dtype=np.int32)
    answers = np.zeros(offsets.size - 1, dtype=np.float64)
    for document in range(offsets.size - 1):
        start, total, square = offsets[document], 0.0, 0.0
        num_touched = _count_document(data, start, min(offsets[document + 1], start + _MAX_BYTES), counts, touched)
        for at in range(num_touched):
            bucket = touched[at]
            weight = weights[bucket] * (1 + np.log(counts[bucket]))
            counts[bucket] = 0
            # The dot product with the coefficients and the vector's length in one pass over the touched buckets.
            total += weight * coefficients[bucket]
            square += weight * weight
        answers[document] = total / np.sqrt(square) if square > 0 else 0.0
    return answers
