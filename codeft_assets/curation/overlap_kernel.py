"""Numba kernels that turn text into n-gram hashes: by words, and by the shape of code.

Words: runs of letters, digits and underscores with at least one letter, case folded; numbers are passed over, so number
tables match nothing. Code: tokens with identifiers and literals canonicalized and comments, docstrings and layout left
out, so that renaming, re-indenting and re-commenting hide nothing.
"""

import numba
import numpy as np

from codeft_assets.curation.words_kernel import mix

_FNV = np.uint64(14695981039346656037)
_PRIME = np.uint64(1099511628211)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_IDENTIFIER, _LITERAL = np.uint64(0x1D), np.uint64(0x11)


@numba.njit(cache=True, nogil=True, inline="always")
def _is_word(byte):
    return (97 <= byte <= 122) or (65 <= byte <= 90) or (48 <= byte <= 57) or byte == 95 or byte >= 128


@numba.njit(cache=True, nogil=True, inline="always")
def _holds(slots, value):
    """Return whether the open-addressing table holds ``value``."""
    mask = np.uint64(len(slots) - 1)
    slot = value & mask
    while slots[slot] != 0 and slots[slot] != value:
        slot = (slot + np.uint64(1)) & mask
    return slots[slot] == value


@numba.njit(cache=True, nogil=True)
def word_tokens(data, start, end, tokens, begins, ends):
    """Write hash, begin and end of each word with a letter; return their number."""
    count, at = 0, start
    while at < end:
        if not _is_word(data[at]):
            at += 1
            continue
        begin, key, has_letter = at, _FNV, False
        while at < end and _is_word(data[at]):
            byte = data[at]
            if 65 <= byte <= 90:
                byte += np.uint8(32)
            has_letter = has_letter or byte > 57
            key = (key ^ np.uint64(byte)) * _PRIME
            at += 1
        if has_letter:
            tokens[count], begins[count], ends[count] = mix(key), begin, at
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _skip_string(data, at, end):
    """Return the end of the string literal at ``at``, or ``at`` if the line ends first."""
    quote = data[at]
    if at + 2 < end and data[at + 1] == quote and data[at + 2] == quote:
        stop = at + 3
        while stop + 2 < end and not (data[stop] == quote and data[stop + 1] == quote and data[stop + 2] == quote):
            stop += 1
        return min(stop + 3, end)
    stop = at + 1
    while stop < end and data[stop] != quote:
        if data[stop] == 10:
            return at
        stop += 2 if data[stop] == 92 else 1
    return min(stop + 1, end) if stop < end else at


@numba.njit(cache=True, nogil=True)
def _skip_comment(data, at, end):
    """Return the end of the comment at ``at``, or ``at`` if there is none."""
    two = at + 1 < end
    if data[at] == 35 or (two and data[at] == 47 and data[at + 1] == 47):
        while at < end and data[at] != 10:
            at += 1
        return at
    if two and data[at] == 47 and data[at + 1] == 42:
        at += 2
        while at + 1 < end and not (data[at] == 42 and data[at + 1] == 47):
            at += 1
        return min(at + 2, end)
    return at


@numba.njit(cache=True, nogil=True)
def code_tokens(data, start, end, kept_words, tokens, begins, ends):
    """Write hash, begin and end of each code token; ``kept_words`` is a table of words that keep their name."""
    count, at = 0, start
    while at < end:
        byte, begin = data[at], at
        if byte <= 32:
            at += 1
            continue
        at = _skip_comment(data, at, end)
        if at != begin:
            continue
        if byte == 34 or byte == 39:
            at = _skip_string(data, at, end)
            is_docstring = at - begin > 5 and data[begin + 1] == byte and data[begin + 2] == byte
            if at != begin and is_docstring:
                continue
            token = mix(_LITERAL if at != begin else np.uint64(byte))
            at = max(at, begin + 1)
        elif _is_word(byte):
            key, is_number = _FNV, 48 <= byte <= 57
            while at < end and _is_word(data[at]):
                key = (key ^ np.uint64(data[at])) * _PRIME
                at += 1
            token = mix(key)
            if is_number:
                token = mix(_LITERAL)
            elif not _holds(kept_words, token):
                token = mix(_IDENTIFIER)
        else:
            token = mix(np.uint64(byte))
            at += 1
        tokens[count], begins[count], ends[count] = token, begin, at
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _grams(tokens, count, width, out):
    """Write the hash of each n-gram of ``count`` tokens and return their number; a polynomial that rolls."""
    leaving, rolling = np.uint64(1), np.uint64(0)
    for _ in range(width):
        leaving *= _MIX
    for at in range(count):
        rolling = rolling * _MIX + tokens[at]
        if at >= width:
            rolling -= tokens[at - width] * leaving
        if at >= width - 1:
            out[at - width + 1] = mix(rolling)
    return max(count - width + 1, 0)


@numba.njit(cache=True, nogil=True)
def _tokens(data, start, end, is_code, kept_words, tokens, begins, ends):
    if is_code:
        return code_tokens(data, start, end, kept_words, tokens, begins, ends)
    return word_tokens(data, start, end, tokens, begins, ends)


@numba.njit(cache=True, nogil=True)
def _longest(offsets):
    longest = np.int64(0)
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest + 1


@numba.njit(cache=True, nogil=True)
def grams_of(data, offsets, width, is_code, kept_words):
    """Return every n-gram of every text: the text's number and the hash."""
    size = _longest(offsets)
    tokens, begins, ends = np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.int64)
    grams = np.empty(size, np.uint64)
    owners, hashes = [np.int64(0) for _ in range(0)], [np.uint64(0) for _ in range(0)]
    for text in range(len(offsets) - 1):
        count = _tokens(data, offsets[text], offsets[text + 1], is_code, kept_words, tokens, begins, ends)
        for first in range(_grams(tokens, count, width, grams)):
            owners.append(np.int64(text))
            hashes.append(grams[first])
    return np.array(owners, dtype=np.int64), np.array(hashes, dtype=np.uint64)


@numba.njit(cache=True, nogil=True)
def find_grams(data, offsets, width, is_code, kept_words, slots):
    """Return the hits of an open-addressing table ``slots`` (0: free): text, n-gram, and where it begins and ends."""
    size = _longest(offsets)
    tokens, begins, ends = np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.int64)
    grams = np.empty(size, np.uint64)
    owners, hashes = [np.int64(0) for _ in range(0)], [np.uint64(0) for _ in range(0)]
    froms, untils = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)]
    for text in range(len(offsets) - 1):
        count = _tokens(data, offsets[text], offsets[text + 1], is_code, kept_words, tokens, begins, ends)
        for first in range(_grams(tokens, count, width, grams)):
            gram = grams[first]
            if _holds(slots, gram):
                owners.append(np.int64(text))
                hashes.append(gram)
                froms.append(begins[first] - offsets[text])
                untils.append(ends[first + width - 1] - offsets[text])
    return (
        np.array(owners, dtype=np.int64),
        np.array(hashes, dtype=np.uint64),
        np.array(froms, dtype=np.int64),
        np.array(untils, dtype=np.int64),
    )


@numba.njit(cache=True)
def fill_slots(hashes, num_slots):
    """Return an open-addressing table of ``num_slots`` (a power of two) that holds ``hashes``."""
    slots, mask = np.zeros(num_slots, dtype=np.uint64), np.uint64(num_slots - 1)
    for gram in hashes:
        slot = gram & mask
        while slots[slot] != 0 and slots[slot] != gram:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = gram
    return slots


@numba.njit(cache=True)
def word_hashes(data, offsets):
    """Return the hash of each whole text as one code word."""
    hashes = np.empty(len(offsets) - 1, dtype=np.uint64)
    for text in range(len(offsets) - 1):
        key = _FNV
        for at in range(offsets[text], offsets[text + 1]):
            key = (key ^ np.uint64(data[at])) * _PRIME
        hashes[text] = mix(key)
    return hashes
