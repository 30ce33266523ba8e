"""Numba kernels that turn text into n-gram hashes: by words, by code tokens, and by the shape of code.

Words: as in ``words``, with at least one letter; numbers are skipped, so number tables match nothing. Code
tokens: words and single other characters, with comments, docstrings and layout left out; a string is one token. Shape:
the same tokens with all literals alike and all names alike, so that renaming hides nothing; attributes (``.append``),
keywords and built-in functions keep their names, for renaming a program's own names leaves them.

Texts are read part by part and n-grams roll, so memory is that of the longest text.
"""

import numba
import numpy as np

from codeft_assets.curation.kernels.hash_tables import find_slot, table_size
from codeft_assets.curation.kernels.words import (
    edges_scratch,
    find_edges,
    hash_word,
    is_word,
    mix,
    next_part,
    padded,
    readable,
)

WORDS_KERNEL = "220403d4d2216761"
"""Hash of words.py: numba keeps compiled code until this file changes, and so it must when that one does."""
HASH_TABLES_KERNEL = "9c66c05a05fc8fc7"
"""Hash of hash_tables.py, for the same reason."""
_IDENTIFIER, _LITERAL = np.uint64(0x1D), np.uint64(0x11)  # control characters: no token is one, for layout is skipped
# Of the rolling hash: any large odd number will do (this is of MurmurHash3). Odd, for an even one would shift the older
# tokens out of 64 bits.
_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_PART_BYTES = 1 << 14  # a part and its edges stay in a core's second-level cache
_RING = 32
"""Tokens that are remembered: the largest width of an n-gram. A power of two: the remainder is a mask."""
_SMALLEST_TABLE = 64  # its bit map has 16 words of 64 bits


@numba.njit(cache=True, nogil=True, inline="always")
def _holds(table, value):
    """Return whether a table of ``make_table`` holds ``value``; its bit map excludes nearly all values it does not."""
    slots, bits = table
    # Nearly every n-gram of a document is in no benchmark, and one bit of a map that fits into the cache excludes it.
    # One bit of 32 is set at most: 3 % of these n-grams are looked up in the table for nothing.
    place = value & np.uint64(len(bits) * 64 - 1)
    if not (bits[place >> np.uint64(6)] >> (place & np.uint64(63))) & np.uint64(1):
        return False
    return slots[find_slot(slots, value, value)] == value


@numba.njit(cache=True)
def make_table(hashes):
    """Return an open-addressing table that holds ``hashes``: its slots (0: free), and 32 bits for each in a bit map."""
    size = table_size(len(hashes), _SMALLEST_TABLE)
    slots, bits = np.zeros(size, dtype=np.uint64), np.zeros(size // 4, dtype=np.uint64)
    for value in hashes:
        slots[find_slot(slots, value, value)] = value
        place = value & np.uint64(len(bits) * 64 - 1)
        bits[place >> np.uint64(6)] |= np.uint64(1) << (place & np.uint64(63))
    return slots, bits


@numba.njit(cache=True, nogil=True)
def _power(width):
    """Return the factor of the token that leaves an n-gram: ``_MULTIPLIER`` to the power of ``width``, modulo 2^64."""
    product = np.uint64(1)
    for _ in range(width):
        product *= _MULTIPLIER
    return product


@numba.njit(cache=True, nogil=True)
def _is_number(data, begin, end):
    """Return whether a word is digits and underscores only: 1_000 is a number, 0x1f and 3rd are words."""
    at = begin
    while at < end and (48 <= data[at] <= 57 or data[at] == 95):
        at += 1
    return at == end


@numba.njit(cache=True, nogil=True)
def _skip_string(data, at, end):
    """Return the end of the string literal at ``at``, or ``at`` if the line ends first."""
    quote = data[at]
    # a string of three quotes crosses lines, and one that never ends takes the rest of the text
    if at + 2 < end and data[at + 1] == quote and data[at + 2] == quote:
        stop = at + 3
        while stop + 2 < end and not (data[stop] == quote and data[stop + 1] == quote and data[stop + 2] == quote):
            stop += 1
        return min(stop + 3, end)
    stop = at + 1
    while stop < end and data[stop] != quote:
        if data[stop] == 10:  # an apostrophe, not a string
            return at
        stop += 2 if data[stop] == 92 else 1  # a backslash escapes the next byte
    return min(stop + 1, end) if stop < end else at


@numba.njit(cache=True, nogil=True)
def _skip_comment(data, at, end):
    """Return the end of the comment at ``at``, or ``at`` if there is none."""
    # of any language, for a benchmark's solution is sought in all of them: ``#``, ``//`` and ``/* */``
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


@numba.njit(cache=True, nogil=True, inline="always")
def _roll(state, ring, count, width, leaving, token):
    """Return the rolling hash with ``token`` in and the token ``width`` places before it out."""
    # state = sum of token[i] * multiplier^(width - 1 - i), modulo 2^64: each step multiplies, adds and subtracts
    gone = ring[(count - width) % _RING] if count >= width else np.uint64(0)
    return state * _MULTIPLIER + token - gone * leaving


@numba.njit(cache=True, nogil=True)
def _scratch(longest):
    """Return room for the words of one part and their edges, and for the last tokens and where they begin."""
    folded, edges = edges_scratch(longest, _PART_BYTES)
    return folded, edges, np.zeros(_RING, dtype=np.uint64), np.zeros(_RING, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def _word_grams(data, start, end, text, widths, tables, everything, hits, short_hits):
    """Append text, n-gram, begin and end of each n-gram of words, in two widths, that ``tables`` hold, or of all."""
    folded, edges, ring, begins = _scratch(end - start)
    width, short_width = widths
    table, short_table = tables
    leaving, short_leaving = _power(width), _power(short_width)
    state, short_state, count, at = np.uint64(0), np.uint64(0), 0, start
    while at < end:
        stop = next_part(data, at, end, _PART_BYTES)
        for i in range(find_edges(data, at, stop, folded, edges)):
            begin, until = at + edges[2 * i], at + edges[2 * i + 1]
            if data[begin] <= 57 and _is_number(data, begin, until):  # of word bytes only digits are 57 ("9") or less
                continue
            token = hash_word(folded, edges[2 * i], edges[2 * i + 1])
            state = _roll(state, ring, count, width, leaving, token)
            short_state = _roll(short_state, ring, count, short_width, short_leaving, token)
            ring[count % _RING], begins[count % _RING] = token, begin
            count += 1
            gram = mix(state)  # tables read the lowest bits, which a sum of products mixes badly
            if count >= width and (everything or _holds(table, gram)):
                hits.append((text, gram, begins[(count - width) % _RING] - start, until - start))
            gram = mix(short_state)
            if count >= short_width and (everything or _holds(short_table, gram)):
                short_hits.append((text, gram, begins[(count - short_width) % _RING] - start, until - start))
        at = stop


@numba.njit(cache=True, nogil=True)
def _code_grams(data, start, end, text, kept_words, widths, tables, everything, hits, shape_hits):
    """Append text, n-gram, begin and end of each n-gram of code tokens, and of their shape, that is looked for.

    Args:
        data: bytes of the text, readable behind ``end``.
        start: where the text begins.
        end: where it ends.
        text: its number.
        kept_words: table of words that keep their name in the shape: keywords and built-in functions.
        widths: tokens an n-gram, of tokens and of their shape.
        tables: n-grams to look for, of tokens and of their shape.
        everything: whether to append all n-grams.
        hits: list for the n-grams of tokens.
        shape_hits: list for the n-grams of their shape.
    """
    folded, edges, ring, begins = _scratch(end - start)
    shape_ring = np.zeros(_RING, dtype=np.uint64)
    width, shape_width = widths
    table, shape_table = tables
    leaving, shape_leaving = _power(width), _power(shape_width)
    state, shape_state, count, at = np.uint64(0), np.uint64(0), 0, start
    literal, identifier = mix(_LITERAL), mix(_IDENTIFIER)
    while at < end:
        stop, part, word = next_part(data, at, end, _PART_BYTES), at, 0
        find_edges(data, at, stop, folded, edges)
        while at < stop:
            begin, byte = at, data[at]
            if byte <= 32:
                at += 1
                continue
            if is_word(byte):
                while part + edges[2 * word] < at:  # passes the words of strings and comments, which were skipped
                    word += 1
                at = part + edges[2 * word + 1]
                token = hash_word(folded, edges[2 * word], edges[2 * word + 1])
                shape = token
                if 48 <= byte <= 57:
                    shape = literal
                # 46: a name behind a dot is an attribute
                elif not (begin > start and data[begin - 1] == 46) and not _holds(kept_words, token):
                    shape = identifier
            elif byte == 34 or byte == 39:
                at = _skip_string(data, at, end)
                # 34 and 39 are quotes. More than two quotes of three each: a docstring, which is a comment.
                if at - begin > 5 and data[begin + 1] == byte and data[begin + 2] == byte:
                    continue
                token = literal if at != begin else mix(np.uint64(byte))
                shape = token
                at = max(at, begin + 1)
            else:
                if byte == 35 or byte == 47:  # "#" and "/" may begin a comment
                    at = _skip_comment(data, at, end)
                    if at != begin:
                        continue
                token = mix(np.uint64(byte))
                shape = token
                at += 1
            state = _roll(state, ring, count, width, leaving, token)
            shape_state = _roll(shape_state, shape_ring, count, shape_width, shape_leaving, shape)
            place = count % _RING
            ring[place], shape_ring[place], begins[place] = token, shape, begin
            count += 1
            gram = mix(state)
            if count >= width and (everything or _holds(table, gram)):
                hits.append((text, gram, begins[(count - width) % _RING] - start, at - start))
            gram = mix(shape_state)
            if count >= shape_width and (everything or _holds(shape_table, gram)):
                shape_hits.append((text, gram, begins[(count - shape_width) % _RING] - start, at - start))


@numba.njit(cache=True, nogil=True)
def _no_hits():
    # an empty list of the hits' type: numba infers it from the element that the loop never makes
    return [(np.int64(0), np.uint64(0), np.int64(0), np.int64(0)) for _ in range(0)]


@numba.njit(cache=True, nogil=True)
def _columns(hits):
    texts, grams = np.empty(len(hits), dtype=np.int64), np.empty(len(hits), dtype=np.uint64)
    begins, ends = np.empty(len(hits), dtype=np.int64), np.empty(len(hits), dtype=np.int64)
    for i in range(len(hits)):
        texts[i], grams[i], begins[i], ends[i] = hits[i]
    return texts, grams, begins, ends


@numba.njit(cache=True, nogil=True)
def find_word_grams(data, offsets, widths, tables, everything):
    """Return the n-grams of words, in two widths, that ``tables`` hold, or all: text, n-gram, begin and end of each."""
    hits, shorts = _no_hits(), _no_hits()
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        if readable(data, end):
            _word_grams(data, start, end, text, widths, tables, everything, hits, shorts)
        else:
            copy = padded(data, start, end)
            _word_grams(copy, 0, end - start, text, widths, tables, everything, hits, shorts)
    return _columns(hits), _columns(shorts)


@numba.njit(cache=True, nogil=True)
def find_code_grams(data, offsets, kept_words, widths, tables, everything):
    """Return the n-grams of code tokens, and those of their shape, as ``find_word_grams`` does."""
    hits, shapes = _no_hits(), _no_hits()
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        if readable(data, end):
            _code_grams(data, start, end, text, kept_words, widths, tables, everything, hits, shapes)
        else:
            copy = padded(data, start, end)
            _code_grams(copy, 0, end - start, text, kept_words, widths, tables, everything, hits, shapes)
    return _columns(hits), _columns(shapes)


@numba.njit(cache=True)
def word_hashes(data, offsets):
    """Return the hash of each whole text as one word."""
    hashes = np.empty(len(offsets) - 1, dtype=np.uint64)
    for text in range(len(offsets) - 1):
        size = offsets[text + 1] - offsets[text]
        folded, edges = edges_scratch(size, size)
        find_edges(padded(data, offsets[text], offsets[text + 1]), 0, size, folded, edges)
        hashes[text] = hash_word(folded, 0, size)
    return hashes
