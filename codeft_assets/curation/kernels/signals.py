"""The compiled half of the signals: three short scans of a document's bytes while they are in the cache.

Invariant: a document's row depends on its own bytes and language only, never on its neighbors in the batch. Scratch
tables are shared by the documents of a batch for speed; entries are tagged with the document, so none leaks.
"""

from __future__ import annotations

import numba
import numpy as np

from codeft_assets.curation.kernels.byte_classes import (
    BYTE_CLASSES,
    DIGIT,
    FNV_OFFSET,
    FNV_PRIME,
    FOLDED,
    LETTER,
    SPACE,
)
from codeft_assets.curation.kernels.hash_tables import find_slot

BYTE_CLASSES_KERNEL = "319fb8d913221b2b"
"""Hash of byte_classes.py: numba keeps compiled code until this file changes, and so it must when that one does."""
HASH_TABLES_KERNEL = "9c66c05a05fc8fc7"
"""Hash of hash_tables.py, for the same reason."""
_NUM_BYTE_SIGNALS, _NUM_LINE_SIGNALS, _NUM_WORD_SIGNALS = 7, 11, 14
FIRST_WORD_SIGNAL = _NUM_BYTE_SIGNALS + _NUM_LINE_SIGNALS

_SCRATCH_BITS = 14  # one slot a hash, last writer wins: stays in cache; past some 5k words repeats are undercounted
_LONG_WORD_CHARS = 40  # hashes, base64 and minified names; longer than any word people write
_MIN_DUPLICATE_LINE_BYTES = 10  # "return x" and "}" repeat in good code
_SCRATCH_SIZE = 1 << _SCRATCH_BITS
# UTF-8: 0x80 to 0xBF go on with a character. What begins with 0xC2, 0xE2 or 0xF0 and above are signs, arrows, boxes,
# pictures; with the others nearly all are letters of some script.
_BEGINS_CHARACTER = np.array([byte < 0x80 or byte > 0xBF for byte in range(256)])
_BEGINS_LETTER = np.array([0xC2 < byte < 0xF0 and byte != 0xE2 for byte in range(256)])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads hashes and rolls n-grams


@numba.njit(cache=True, nogil=True)
def _seen(table, key, document):
    """Return whether ``key`` was met before in this document, and remember it."""
    mixed = key * _GOLDEN
    # The slot by the upper bits, the tag by the lower 32: a hash is taken for another once in 2^46. A document's number
    # plus one is never 0, so a cleared table holds no document's hash.
    slot = mixed >> np.uint64(64 - _SCRATCH_BITS)
    tag = (np.uint64(document + 1) << np.uint64(32)) | (mixed & np.uint64(0xFFFFFFFF))
    known = table[slot] == tag
    table[slot] = tag
    return known


@numba.njit(cache=True, nogil=True)
def _byte_signals(data, start, end, row):
    """Size and alphabet, from the histogram of byte values."""
    # One addition a byte and no branch; the classes of bytes are looked up for 256 sums, not for each byte.
    counts = np.zeros(256, dtype=np.int64)
    for at in range(start, end):
        counts[data[at]] += 1
    size = max(end - start, 1)
    letters = digits = spaces = upper = high = foreign_letters = 0
    entropy = 0.0
    for byte in range(256):
        count, kind = counts[byte], BYTE_CLASSES[byte]
        letters += count if kind & LETTER else 0
        digits += count if kind & DIGIT else 0
        spaces += count if kind & SPACE else 0
        upper += count if 65 <= byte <= 90 else 0  # A to Z
        high += count if _BEGINS_CHARACTER[byte] and byte >= 128 else 0
        foreign_letters += count if _BEGINS_LETTER[byte] else 0
        if count:
            entropy -= count / size * np.log2(count / size)
    ascii_chars = counts[:128].sum()
    chars = max(ascii_chars + high, 1)
    row[0] = end - start
    row[1] = (letters + foreign_letters) / max(chars - spaces, 1)
    row[2] = digits / chars
    row[3] = (ascii_chars - letters - digits - spaces) / chars
    row[4] = upper / max(letters, 1)
    row[5] = high / chars
    row[6] = entropy


@numba.njit(cache=True, nogil=True)
def _line_kinds(data, first, last, counts):
    """Count the kinds of the line ``data[first:last]``, stripped and not empty, in ``counts``."""
    head, tail = data[first], data[last - 1]
    second = data[first + 1] if last - first > 1 else np.uint8(0)
    if (head == 45 or head == 42) and second == 32:  # "- " or "* "
        counts[0] += 1
    spaces = letters = 0  # a byte of a non-ASCII character counts as a letter: prose is not only English
    for at in range(first, last):
        kind = BYTE_CLASSES[data[at]]
        letters += 1 if kind & LETTER or data[at] >= 128 else 0
        spaces += 1 if data[at] == 32 else 0
    # A sentence: five words, an end of . ! ? or :, and more than 60 % letters, which code rarely has.
    if spaces >= 4 and (tail == 46 or tail == 33 or tail == 63 or tail == 58) and letters * 10 > (last - first) * 6:
        counts[1] += 1
    counts[2] += 1 if tail == 63 else 0
    counts[3] += 1 if letters * 4 < last - first and last - first > 3 else 0
    if head == 62 and second == 62:  # ">>"
        counts[4] += 1


@numba.njit(cache=True, nogil=True)
def _line_signals(data, start, end, seen, document, row):
    """Line shape, duplicate lines and kinds of lines: bullets, sentences, questions, data, fenced, doctests."""
    counts = np.zeros(5, dtype=np.int64)
    num_lines = total = longest = indented = duplicates = fenced = 0
    in_fence = False
    at = start
    while at < end:
        begin = at
        key, chars = FNV_OFFSET, 0  # of the line as it stands, indentation included
        while at < end and data[at] != 10:
            key = (key ^ np.uint64(data[at])) * FNV_PRIME
            chars += _BEGINS_CHARACTER[data[at]]
            at += 1
        first, last = begin, at
        at += 1
        while first < last and BYTE_CLASSES[data[first]] & SPACE:
            first += 1
        while last > first and BYTE_CLASSES[data[last - 1]] & SPACE:
            last, chars = last - 1, chars - 1
        if first == last:
            continue
        num_lines += 1
        total += chars
        longest = max(longest, chars)
        indented += 1 if first > begin else 0
        if last - first >= _MIN_DUPLICATE_LINE_BYTES and _seen(seen, key, document):
            duplicates += 1
        if last - first >= 3 and data[first] == 96 and data[first + 1] == 96 and data[first + 2] == 96:  # ```
            in_fence = not in_fence
        fenced += 1 if in_fence else 0
        _line_kinds(data, first, last, counts)
    lines = max(num_lines, 1)
    row[0], row[1], row[2] = num_lines, total / lines, longest
    row[3], row[4], row[5] = indented / lines, duplicates / lines, fenced / lines
    for kind in range(5):
        row[6 + kind] = counts[kind] / lines


@numba.njit(cache=True, nogil=True)
def _word_flags(key, keys, flags):
    """Return the vocabulary flags of the word with hash ``key``; a free slot has none."""
    return flags[find_slot(keys, key, key)]


@numba.njit(cache=True, nogil=True)
def _scan_word(data, at, end):
    """Return a word's end, its characters, its hash (ASCII case folded) and if it is a snake or camel compound."""
    key, begin, joints, lower, chars = FNV_OFFSET, at, 0, False, 0
    while at < end:
        byte = data[at]
        folded = FOLDED[byte]
        if folded == 0:
            break
        # Sums of comparisons, for a branch would be mispredicted at every name: an underscore (95) joins two words,
        # and so does a capital (folding changes it) behind a small letter.
        joints += (byte == 95) | (lower & (byte != folded))
        lower = (byte == folded) & (byte >= 97)
        key = (key ^ np.uint64(folded)) * FNV_PRIME
        chars += _BEGINS_CHARACTER[byte]
        at += 1
    return at, chars, key, joints > (data[begin] == 95)  # the underscore of _private joins nothing


@numba.njit(cache=True, nogil=True)
def _word_signals(data, start, end, seen, document, vocabulary, row):
    """Vocabulary, repetition and the kind of line that a first word announces."""
    # 0 words, 1 characters, 2 new, 3 repeated 5-grams, 4 numbers, 5 compounds, 6 encoded characters
    counts = np.zeros(7, dtype=np.int64)
    kinds = np.zeros(8, dtype=np.int64)  # words by vocabulary flag
    starts = np.zeros(8, dtype=np.int64)  # lines by the flag of their first word
    ring = np.zeros(5, dtype=np.uint64)  # hashes of the last five, four, ... one words
    stop_words, num_lines, fresh_line, at = 0, 0, True, start
    while at < end:
        if FOLDED[data[at]] == 0:
            fresh_line |= data[at] == 10
            at += 1
            continue
        begin = at
        at, chars, key, compound = _scan_word(data, at, end)
        counts[0] += 1
        counts[1] += chars
        counts[2] += 0 if _seen(seen[0], key, document) else 1
        for back in range(4):
            # a polynomial of the words: one more word for each shorter one, so that nothing need leave
            ring[back] = ring[back + 1] * _GOLDEN + key
        ring[4] = key
        if counts[0] >= 5 and _seen(seen[1], ring[0], document):
            counts[3] += 1
        counts[4] += 1 if BYTE_CLASSES[data[begin]] & DIGIT else 0
        counts[5] += 1 if compound else 0
        counts[6] += chars if chars >= _LONG_WORD_CHARS else 0
        flags = _word_flags(key, vocabulary[0], vocabulary[1])
        stop_words |= flags >> 8  # a bit each: how many different ones
        for bit in range(6):
            kinds[bit] += (flags >> bit) & 1
        if fresh_line:
            num_lines += 1
            for bit in range(6):
                starts[bit] += (flags >> bit) & 1
        fresh_line = False
    _store_word_signals(counts, kinds, starts, stop_words, num_lines, row)


@numba.njit(cache=True, nogil=True)
def _store_word_signals(counts, kinds, starts, stop_words, num_lines, row):
    words, lines = max(counts[0], 1), max(num_lines, 1)
    row[0], row[1], row[2] = counts[0], counts[1] / words, counts[2] / words
    row[3], row[4], row[5] = counts[3] / words, counts[4] / words, counts[5] / words
    row[6] = counts[6] / max(counts[1], 1)
    for kind in range(3):  # keywords, function words, explanation; then imports, definitions, tests
        row[7 + kind] = kinds[kind] / words
        row[11 + kind] = starts[3 + kind] / lines
    distinct = 0
    while stop_words:
        distinct += stop_words & 1
        stop_words >>= 1
    row[10] = distinct


@numba.njit(cache=True, nogil=True)
def text_signals(data, offsets, vocabulary):
    """Return the signals of bytes, lines and words, one float32 row a document, in the order of ``signals.SIGNALS``.

    Args:
        data: Bytes of all documents.
        offsets: Document ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        vocabulary: The arrays of ``vocabulary.word_table``.
    """
    lines = _NUM_BYTE_SIGNALS
    words = FIRST_WORD_SIGNAL
    rows = np.zeros((offsets.size - 1, words + _NUM_WORD_SIGNALS), dtype=np.float32)
    seen = np.zeros((3, _SCRATCH_SIZE), dtype=np.uint64)
    for document in range(offsets.size - 1):
        start, end, row = offsets[document], offsets[document + 1], rows[document]
        _byte_signals(data, start, end, row[:lines])
        _line_signals(data, start, end, seen[2], document, row[lines:words])
        _word_signals(data, start, end, seen, document, vocabulary, row[words:])
    return rows
