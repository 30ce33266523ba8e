"""Numba kernels that find, fold and hash the words of a text, 64 bytes at a time.

A word is a run of ASCII letters, digits, underscores and bytes of 0x80 and above; ASCII case is folded, digits are
kept. Measured on Zen 5: 2.4 GB/s a core for word 5-shingles.

Invariant: ``READ_AHEAD`` bytes behind a text must be readable. ``readable`` returns whether they are; ``padded``
returns a copy of a text with that many zero bytes behind it.

All arithmetic is in uint64 and wraps modulo 2^64, as hashes want it. No shift is by 64 bits or more: LLVM leaves its
result undefined.
"""

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

READ_AHEAD = 80
"""A block that begins at a text's last byte reads 63 bytes behind it, a word that begins there 15."""
_BLOCK = 64
_NUM_LANES = 64
_SEEDS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # golden ratio; xxHash's second 64-bit prime
_SEED_1, _SEED_2 = np.uint64(_SEEDS[0]), np.uint64(_SEEDS[1])
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's 64-bit finalizer
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT, _HALF, _LAST, _ONE = np.uint64(33), np.uint64(32), np.uint64(63), np.uint64(1)
AT_ONCE = 16
"""Bytes of a word that are hashed without a branch."""
_UNROLLED = 16  # edges: a block of 64 bytes of code or prose seldom has more
# For each length of a word, the mask of its bytes among its first eight and among its second: cheaper than two shifts.
_FIRST = np.array([(1 << 8 * min(size, 8)) - 1 for size in range(AT_ONCE + 1)], dtype=np.uint64)
_SECOND = np.array([(1 << 8 * max(size - 8, 0)) - 1 for size in range(AT_ONCE + 1)], dtype=np.uint64)


def _address(context, builder, array_type, array, at):
    proxy = cgutils.create_struct_proxy(array_type)(context, builder, array)
    return builder.gep(proxy.data, [at])


@intrinsic
def load_word(typingctx, data, at):  # type: ignore[no-untyped-def]
    """Return the eight bytes at ``data[at]`` as one little-endian number, in one load instead of eight."""

    def codegen(context, builder, signature, args):
        address = _address(context, builder, signature.args[0], args[0], args[1])
        # align=1: a word begins anywhere; the default would promise the CPU an address divisible by 8
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, at), codegen


@intrinsic
def _fold_block(typingctx, data, at, folded, to):  # type: ignore[no-untyped-def]
    """Copy the 64 bytes at ``data[at]`` to ``folded[to]`` with words in lower case; return a bit for each, 1 in a word.

    Bit 0x20 is set in each ASCII byte of a word: digits have it, and 0x5F becomes 0x7F, which no word holds.
    """

    def codegen(context, builder, signature, args):
        lanes = ir.VectorType(ir.IntType(8), _NUM_LANES)
        address = _address(context, builder, signature.args[0], args[0], args[1])
        chunk = builder.load(builder.bitcast(address, lanes.as_pointer()), align=1)

        # Vectors of 64 bytes: LLVM makes one AVX-512 register of them, two of AVX2 or four of SSE and NEON.
        def every(value):
            return ir.Constant(lanes, [value] * _NUM_LANES)

        def between(values, low, high):
            # one comparison for two: a byte below ``low`` wraps to a large number
            return builder.icmp_unsigned("<", builder.sub(values, every(ord(low))), every(ord(high) - ord(low) + 1))

        is_letter = between(builder.or_(chunk, every(0x20)), "a", "z")  # bit 0x20 is the difference of a and A
        is_ascii = builder.or_(is_letter, between(chunk, "0", "9"))
        is_ascii = builder.or_(is_ascii, builder.icmp_unsigned("==", chunk, every(ord("_"))))
        is_word = builder.or_(is_ascii, builder.icmp_unsigned(">=", chunk, every(0x80)))
        lower = builder.select(is_ascii, builder.or_(chunk, every(0x20)), chunk)
        address = _address(context, builder, signature.args[2], args[2], args[3])
        builder.store(lower, builder.bitcast(address, lanes.as_pointer()), align=1)
        # 64 lanes of one bit are one number, lane 0 its lowest bit (on little-endian machines, as all of ours are)
        return builder.bitcast(is_word, ir.IntType(64))

    return types.uint64(data, at, folded, to), codegen


@intrinsic
def _foreign_bits(typingctx, data, at):  # type: ignore[no-untyped-def]
    """Return a bit for each of the 64 bytes at ``data[at]``: 1 where it is 0x80 or more."""

    def codegen(context, builder, signature, args):
        lanes = ir.VectorType(ir.IntType(8), _NUM_LANES)
        address = _address(context, builder, signature.args[0], args[0], args[1])
        chunk = builder.load(builder.bitcast(address, lanes.as_pointer()), align=1)
        is_foreign = builder.icmp_unsigned(">=", chunk, ir.Constant(lanes, [0x80] * _NUM_LANES))
        return builder.bitcast(is_foreign, ir.IntType(64))

    return types.uint64(data, at), codegen


@intrinsic
def lowest_bit(typingctx, bits):  # type: ignore[no-untyped-def]
    """Return the position of the lowest set bit, 64 for 0."""

    def codegen(context, builder, signature, args):
        # 0: the result for 0 is defined, 64; ``find_edges`` asks for it
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def _num_bits(typingctx, bits):  # type: ignore[no-untyped-def]
    """Return how many bits are set."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@numba.njit(cache=True, nogil=True, inline="always")
def mix(value):
    """Return ``value`` with every input bit spread over all output bits."""
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    return value ^ (value >> _SHIFT)


@numba.njit(cache=True, nogil=True, inline="always")
def readable(data, end):
    """Return whether the kernels may read behind ``end``."""
    return end + READ_AHEAD <= len(data)


@numba.njit(cache=True, nogil=True)
def padded(data, start, end):
    """Return a copy of ``data[start:end]`` with readable bytes behind it."""
    copy = np.zeros(end - start + READ_AHEAD, dtype=np.uint8)
    copy[: end - start] = data[start:end]
    return copy


@numba.njit(cache=True, nogil=True, inline="always")
def hash_start(folded, begin, end):
    """Return a number of the first ``AT_ONCE`` bytes of the word ``folded[begin:end]``, found without a branch."""
    # Bytes behind the word are masked to 0. No byte of a word is 0, so words of different lengths stay different; an
    # odd factor has an inverse modulo 2^64, so no two words of up to 8 bytes have the same key.
    size = np.uint64(min(end - begin, AT_ONCE))
    key = (load_word(folded, begin) & _FIRST[size]) * _SEED_1  # pyright: ignore[reportCallIssue]
    return key + (load_word(folded, begin + 8) & _SECOND[size]) * _SEED_2  # pyright: ignore[reportCallIssue]


@numba.njit(cache=True, nogil=True, inline="always")
def hash_rest(folded, begin, end, key):
    """Return ``key`` with the other bytes of the word in it."""
    at = begin + AT_ONCE
    while at < end:
        # the upper half, into which products carry everything, is folded down before the next product
        more = load_word(folded, at) & _FIRST[np.uint64(min(end - at, 8))]  # pyright: ignore[reportCallIssue]
        key = (key ^ (key >> _HALF)) * _MIX_1 + more * _SEED_2
        at += 8
    return key


@numba.njit(cache=True, nogil=True, inline="always")
def hash_end(key):
    """Return the hash, every bit of ``key`` spread over its upper and lower half."""
    key = (key ^ (key >> _HALF)) * _MIX_2  # half of MurmurHash3's finalizer: ``mix`` follows for every shingle
    return key ^ (key >> _HALF)


@numba.njit(cache=True, nogil=True, inline="always")
def hash_word(folded, begin, end):
    """Return the hash of the word ``folded[begin:end]``."""
    return hash_end(hash_rest(folded, begin, end, hash_start(folded, begin, end)))


@numba.njit(cache=True, nogil=True, inline="always")
def is_word(byte):
    """Return whether ``byte`` belongs to a word."""
    letter = byte | 0x20
    return (97 <= letter <= 122) or (48 <= byte <= 57) or byte == 95 or byte >= 128


@numba.njit(cache=True, nogil=True)
def find_edges(data, start, end, folded, edges):
    """Copy ``data[start:end]`` to ``folded`` with words in lower case, and find where each begins and ends there.

    ``folded`` needs a place a byte and ``READ_AHEAD`` more, and so does ``edges`` if no word is longer than a part:
    begins and ends, alternating. Sixteen are written at a time, needed or not: a branch for each would be mispredicted
    at every other one (Langdale and Lemire, arXiv 1902.08318, section 3.2.2). Return the number of words.
    """
    count, carry, at, size = 0, np.uint64(0), 0, end - start
    while at < size:
        bits = _fold_block(data, start + at, folded, at)  # pyright: ignore[reportCallIssue]
        if size - at < _BLOCK:  # the last block reads behind the text
            bits &= (_ONE << np.uint64(size - at)) - _ONE
        # 1 where a byte differs from the one before it: first byte of a word, first byte behind a word
        changes = bits ^ ((bits << _ONE) | carry)
        carry = bits >> _LAST
        stop = count + _num_bits(changes)
        while count < stop:
            for place in range(_UNROLLED):
                edges[count + place] = at + lowest_bit(changes)
                changes &= changes - _ONE  # clears the lowest bit; 0 stays 0
            count += _UNROLLED
        count = stop  # superfluous edges are overwritten by those of the next block
        at += _BLOCK
    if count & 1:  # the text ends inside a word
        edges[count] = size
        count += 1
    return count >> 1


@numba.njit(cache=True, nogil=True)
def next_part(data, start, end, part_bytes):
    """Return the end of a part of about ``part_bytes`` that cuts no word in two."""
    stop = min(start + part_bytes, end)
    while stop < end and is_word(data[stop]):
        stop += 1
    return stop


@numba.njit(cache=True, nogil=True)
def edges_scratch(longest, part_bytes):
    """Return ``folded`` and ``edges`` of ``find_edges`` for parts of texts of up to ``longest`` bytes."""
    return np.empty(longest + READ_AHEAD, dtype=np.uint8), np.empty(part_bytes + READ_AHEAD, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def count_foreign(data, offsets):
    """Return how many bytes of each document are 0x80 or more."""
    counts = np.zeros(len(offsets) - 1, dtype=np.int64)
    for document in range(len(counts)):
        at, end, count = offsets[document], offsets[document + 1], 0
        while at < end and at + _BLOCK <= len(data):
            bits = _foreign_bits(data, at)  # pyright: ignore[reportCallIssue]
            if end - at < _BLOCK:
                bits &= (_ONE << np.uint64(end - at)) - _ONE
            count += _num_bits(bits)
            at += _BLOCK
        for place in range(at, end):
            count += data[place] >= 0x80
        counts[document] = count
    return counts
