"""Numba kernels for what words leave out of a program: its operators and brackets, and indentation where it is meaning.

A mark belongs to a shingle: the hash of what stands between its words. Commas, quotes, semicolons and line breaks do
not count, so that a formatter changes no mark; indentation counts in levels of the document's own unit. Marks depend
on the text between the words only: an edit changes those of the shingles that hold it, and no others.
"""

from __future__ import annotations

import numba
import numpy as np

from codeft_assets.curation.kernels.byte_classes import FNV_OFFSET, FNV_PRIME
from codeft_assets.curation.kernels.words import READ_AHEAD, find_edges, next_part, padded, readable

WORDS_KERNEL = "3cd5bf217994a116"
"""Hash of words.py: numba keeps compiled code until this file changes, and so it must when that one does."""
BYTE_CLASSES_KERNEL = "319fb8d913221b2b"
"""Hash of byte_classes.py: numba freezes its values into these kernels."""
PROSE, CODE, INDENTED = 0, 1, 2
"""What counts between words: nothing; operators and brackets; indentation, too."""
_NEWLINE, _TAB, _SPACE, _LONGEST_UNIT = 10, 9, 32, 8
_OPEN, _CLOSE = 123, 125  # { and }: around one statement they are a style, where indentation is none
_SHIFT, _COUNT_BITS, _ONE, _BITS = np.uint64(32), np.uint64(16), np.uint64(1), np.uint64(64)
_MIX = np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's 64-bit finalizer
_PART_BYTES = 1 << 14
_ROTATION = 11  # bits a place in the shingle


def _table(chars):
    table = np.zeros(256, dtype=np.bool_)
    table[[ord(char) for char in chars]] = True
    return table


_COUNTS = _table("<>=!+-*/%&|^~()[]{}:?")
_CONTINUES = _table(",([{\\=+-*/%&|^~<>")
"""A line that ends in one of these goes on: the next one's indentation is the author's taste."""


def _mark_of_byte():
    """Return the mark of each byte, a line break aside, that alone stands between two words."""
    marks = np.full(256, FNV_OFFSET, dtype=np.uint64)
    marks[_COUNTS] = (marks[_COUNTS] ^ np.flatnonzero(_COUNTS).astype(np.uint64)) * FNV_PRIME
    return marks ^ (marks >> _SHIFT)


_MARK_OF_BYTE = _mark_of_byte()
_ALONE = ~_table("\n{}")
"""Bytes whose mark is the same in every style."""


@numba.njit(cache=True, nogil=True)
def _indentation_unit(data, start, end):
    """Return the most frequent step, in columns, by which a line is indented more than the one before; 4 if none is."""
    steps = np.zeros(_LONGEST_UNIT + 1, dtype=np.int64)
    last, at = 0, start
    while at < end:
        column = 0
        while at < end and (data[at] == _SPACE or data[at] == _TAB):
            column += 1 if data[at] == _SPACE else _LONGEST_UNIT
            at += 1
        if at < end and data[at] > _SPACE:  # no blank line
            if 0 < column - last <= _LONGEST_UNIT:
                steps[column - last] += 1
            last = column
        while at < end and data[at] != _NEWLINE:
            at += 1
        at += 1
    return np.int64(steps.argmax()) if steps.any() else 4


@numba.njit(cache=True, nogil=True)
def _gap_mark(data, at, end, unit):
    """Return the hash of what counts in ``data[at:end]``, between two words.

    ``unit`` are the columns of a level of indentation, 0 where it does not count.
    """
    mark, last, column = FNV_OFFSET, np.uint8(0), -1
    while at < end:
        byte = data[at]
        if byte == _NEWLINE:
            column = 0
        elif column >= 0 and (byte == _SPACE or byte == _TAB):
            column += 1 if byte == _SPACE else _LONGEST_UNIT
        elif byte > _SPACE:
            last = byte
        if _COUNTS[byte] and (unit or (byte != _OPEN and byte != _CLOSE)):
            mark = (mark ^ np.uint64(byte)) * FNV_PRIME
        at += 1
    if column >= 0 and unit and not _CONTINUES[last]:
        mark = (mark ^ np.uint64(256 + (column + unit // 2) // unit)) * FNV_PRIME
    return mark ^ (mark >> _SHIFT)


@numba.njit(cache=True, nogil=True)
def _gap_marks(data, start, end, unit, edges, out):
    """Write the mark of what stands before each word of ``data[start:end]`` to ``out``; return the number of words."""
    num_words, last = 0, start
    while start < end:
        stop = next_part(data, start, end, _PART_BYTES)
        num_found = find_edges(data, start, stop, edges)
        for i in range(num_found):
            begin = edges[2 * i]
            # most gaps are one byte long: no loop, no branch that depends on what it is
            out[num_words + i] = (
                _MARK_OF_BYTE[data[last]]
                if begin - last == 1 and _ALONE[data[last]]
                else _gap_mark(data, last, begin, unit)
            )
            last = edges[2 * i + 1]
        num_words += num_found
        start = stop
    return num_words


@numba.njit(cache=True, nogil=True)
def shingle_marks(data, offsets, styles, width):
    """Return the mark of each shingle of each document in one flat array, and where each document's begin.

    A mark's lower 16 bits are 1, so that a sum of marks holds their number. Documents of ``PROSE`` have no marks.
    """
    bounds = np.zeros(len(offsets), dtype=np.int64)
    flat = np.empty((offsets[-1] - offsets[0]) // 2 + len(offsets) + 2, dtype=np.uint64)
    edges, used = np.empty(_PART_BYTES + READ_AHEAD, dtype=np.int64), 0
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        if styles[document] != PROSE:
            unit = _indentation_unit(data, start, end) if styles[document] == INDENTED else 0
            gaps = flat[used:]
            if readable(data, end):
                num_words = _gap_marks(data, start, end, unit, edges, gaps)
            else:
                num_words = _gap_marks(padded(data, start, end), 0, end - start, unit, edges, gaps)
            num_shingles = max(num_words - width + 1, 0)
            for i in range(num_shingles):
                mark = np.uint64(0)
                for place in range(1, width):  # what stands before the first word is no part of the shingle
                    left = np.uint64(place * _ROTATION % 64)
                    gap = gaps[i + place]
                    mark ^= (gap << left) | (gap >> ((_BITS - left) % _BITS))
                mark *= _MIX
                gaps[i] = ((mark ^ (mark >> _SHIFT)) << _COUNT_BITS) | _ONE
            used += num_shingles
        bounds[document + 1] = used
    return flat[:used], bounds
