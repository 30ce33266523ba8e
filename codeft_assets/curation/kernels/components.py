"""Numba kernels of union-find over numbered documents, of which only those that are linked cost more than a bit."""

import numba
import numpy as np

_WORD, _BIT, _ONE = np.uint64(6), np.uint64(63), np.uint64(1)
_PAIRS, _QUADS, _BYTES = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
_SUM, _TOP = np.uint64(0x0101010101010101), np.uint64(56)


@numba.njit(cache=True, nogil=True, inline="always")
def _num_bits(word):
    """Return how many bits are set (Warren, Hacker's Delight, section 5-1): numba has no population count."""
    word -= (word >> _ONE) & _PAIRS
    word = (word & _QUADS) + ((word >> np.uint64(2)) & _QUADS)
    return (((word + (word >> np.uint64(4))) & _BYTES) * _SUM) >> _TOP


@numba.njit(cache=True, nogil=True)
def mark(bits, numbers):
    """Set the bit of each number."""
    for number in numbers:
        bits[np.uint64(number) >> _WORD] |= _ONE << (np.uint64(number) & _BIT)


@numba.njit(cache=True, nogil=True)
def marked_before(bits):
    """Return how many bits are set before each word, and in all."""
    before, count = np.empty(len(bits) + 1, dtype=np.int64), 0
    for word in range(len(bits)):
        before[word] = count
        count += np.int64(_num_bits(bits[word]))
    before[len(bits)] = count
    return before


@numba.njit(cache=True, nogil=True, inline="always")
def _rank(bits, before, number):
    word = np.uint64(number) >> _WORD
    lower = bits[word] & ((_ONE << (np.uint64(number) & _BIT)) - _ONE)
    return before[word] + np.int64(_num_bits(lower))


@numba.njit(cache=True, nogil=True)
def join(bits, before, parents, left, right):
    """Join the sets of ``left[i]`` and ``right[i]``; a set's root is the rank of its smallest number."""
    for i in range(len(left)):
        a, b = _rank(bits, before, left[i]), _rank(bits, before, right[i])
        while parents[a] != a:
            parents[a] = parents[parents[a]]
            a = np.int64(parents[a])
        while parents[b] != b:
            parents[b] = parents[parents[b]]
            b = np.int64(parents[b])
        if a < b:
            parents[b] = a
        else:
            parents[a] = b


@numba.njit(cache=True, nogil=True)
def flatten(parents):
    """Point every rank at its root: parents are smaller, so theirs are final when a rank comes."""
    for rank in range(len(parents)):
        parents[rank] = parents[parents[rank]]


@numba.njit(cache=True, nogil=True)
def marked(bits, begin, end):
    """Return the numbers from ``begin`` to ``end`` whose bit is set."""
    found, count = np.empty(end - begin, dtype=np.int64), 0
    for number in range(begin, end):
        if (bits[np.uint64(number) >> _WORD] >> (np.uint64(number) & _BIT)) & _ONE:
            found[count] = number
            count += 1
    return found[:count].copy()
