"""Numba kernels for what words leave out of a program: its operators and brackets, and indentation where it is meaning.

A mark belongs to a gap, what stands between two words. Commas, quotes, semicolons and line breaks do not count, so that
a formatter changes no mark; indentation counts in levels of the document's own unit. An edit changes the marks of its
own gaps, and no others.
"""

from __future__ import annotations

import numba
import numpy as np

from codeft_assets.curation.kernels.byte_classes import FNV_OFFSET, FNV_PRIME
from codeft_assets.curation.kernels.shingles import PART_BYTES, hash_words, words_scratch
from codeft_assets.curation.kernels.words import find_edges, load_word, lowest_bit, next_part, padded, readable

SHINGLES_KERNEL = "42788ba0850f1ccc"
"""Hash of shingles.py: numba keeps compiled code until this file changes, and so it must when that one does."""
WORDS_KERNEL = "220403d4d2216761"
"""Hash of words.py, for the same reason."""
BYTE_CLASSES_KERNEL = "319fb8d913221b2b"
"""Hash of byte_classes.py: numba freezes its values into these kernels."""
PROSE, CODE, INDENTED = 0, 1, 2
"""What counts between words: nothing; operators and brackets; indentation, too."""
_NEWLINE, _TAB, _SPACE, _LONGEST_UNIT = 10, 9, 32, 8
_SHIFT, _SPACES = np.uint64(32), np.uint64(0x2020202020202020)
_NO_COLUMN = -1
_COUNTED = "<>=!+-*/%&|^~()[]:?"
_BRACES = "{}"
"""Around one statement they are a style, except where indentation says what they would: there they are data."""


def _table(chars):
    table = np.zeros(256, dtype=np.bool_)
    table[[ord(char) for char in chars]] = True
    return table


_CONTINUES = _table(",([{\\=+-*/%&|^~<>")
"""A line that ends in one of these goes on: the next one's indentation is the author's taste."""
_COUNTS = np.stack([_table(""), _table(_COUNTED), _table(_COUNTED + _BRACES)])  # by what counts between words
# A byte that does not count is 0 and multiplies by 1: it leaves a hash as it is, without a branch.
_VALUE = np.where(_COUNTS, np.arange(256), 0).astype(np.uint64)
_FACTOR = np.where(_COUNTS, FNV_PRIME, np.uint64(1)).astype(np.uint64)


@numba.njit(cache=True, nogil=True)
def _skip_spaces(data, at):
    """Return the place of the first byte from ``at`` on that is no space, eight at a time."""
    others = load_word(data, at) ^ _SPACES  # pyright: ignore[reportCallIssue]
    while others == 0:
        at += 8
        others = load_word(data, at) ^ _SPACES  # pyright: ignore[reportCallIssue]
    return at + (lowest_bit(others) >> 3)  # pyright: ignore[reportCallIssue]


@numba.njit(cache=True, nogil=True)
def _mark_gap(data, at, end, values, factors):
    """Return the hash of the bytes that count in ``data[at:end]``, and the column of its last line.

    It has no column if it holds no line break, or if the line before that goes on.
    """
    mark, last, column = FNV_OFFSET, np.uint8(0), _NO_COLUMN
    while at < end:
        byte = data[at]
        at += 1
        if byte != _NEWLINE:
            mark = (mark ^ values[byte]) * factors[byte]
            last = byte if byte > _SPACE else last
            continue
        begin, at = at, _skip_spaces(data, at)
        column = at - begin
        while data[at] == _TAB or data[at] == _SPACE:  # a word is next at the latest
            column += 1 if data[at] == _SPACE else _LONGEST_UNIT
            at += 1
        column = _NO_COLUMN if _CONTINUES[last] else column
    return mark, column


@numba.njit(cache=True, nogil=True)
def _add_indentation(marks, lines, columns):
    """Add to the mark of each line its level, in units of the most frequent step from a line to a deeper one."""
    steps, last = np.zeros(_LONGEST_UNIT + 1, dtype=np.int64), 0
    for column in columns:
        if 0 < column - last <= _LONGEST_UNIT:
            steps[column - last] += 1
        last = column
    unit = max(np.int64(steps.argmax()), 1)
    for i in range(len(lines)):
        marks[lines[i]] = (marks[lines[i]] ^ np.uint64(256 + (columns[i] + unit // 2) // unit)) * FNV_PRIME


@numba.njit(cache=True, nogil=True)
def _hash_and_mark(data, start, end, style, scratch, words, marks):
    (folded, edges, long_words), lines, columns = scratch
    num_words, num_lines, last, values, factors = 0, 0, start, _VALUE[style], _FACTOR[style]
    while start < end:
        stop = next_part(data, start, end, PART_BYTES)
        num_found = find_edges(data, start, stop, folded, edges)
        hash_words(folded, edges, num_found, long_words, words[num_words:])
        for i in range(num_found):
            begin = start + edges[2 * i]
            if begin - last == 1 and data[last] != _NEWLINE:  # as most gaps are
                marks[num_words + i] = (FNV_OFFSET ^ values[data[last]]) * factors[data[last]]
            else:
                marks[num_words + i], column = _mark_gap(data, last, begin, values, factors)
                lines[num_lines], columns[num_lines] = num_words + i, column
                num_lines += column != _NO_COLUMN
            last = start + edges[2 * i + 1]
        num_words += num_found
        start = stop
    if style == INDENTED:
        _add_indentation(marks, lines[:num_lines], columns[:num_lines])
    for i in range(num_words):
        marks[i] ^= marks[i] >> _SHIFT
    return num_words


@numba.njit(cache=True, nogil=True)
def hash_and_mark(data, start, end, style, scratch, words, marks):
    """Write the hash of each word of ``data[start:end]``, and the mark of what stands before it; return their number.

    Args:
        data: Bytes of many texts.
        start: Where the text begins.
        end: Where it ends.
        style: ``CODE`` or ``INDENTED``.
        scratch: ``marks_scratch()`` for the longest of the texts.
        words: At least half as many places as the text has bytes, and one more.
        marks: As many.
    """
    if readable(data, end):
        return _hash_and_mark(data, start, end, style, scratch, words, marks)
    return _hash_and_mark(padded(data, start, end), 0, end - start, style, scratch, words, marks)


@numba.njit(cache=True, nogil=True)
def marks_scratch(longest):
    """Return room for the words of one part, and for the lines of a text of ``longest`` bytes."""
    num_lines = longest // 2 + 2
    return words_scratch(longest), np.empty(num_lines, dtype=np.int32), np.empty(num_lines, dtype=np.int32)
