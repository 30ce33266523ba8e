"""Numba kernels that write a space behind each character of a script without spaces, in UTF-8."""

from __future__ import annotations

import numba
import numpy as np

_SPACE = np.uint8(32)
_THREE_BYTES, _FOUR_BYTES = 0xE0, 0xF0


@numba.njit(cache=True, nogil=True)
def _is_spaceless(data, at, spaceless):
    """Return whether the character of three or four bytes at ``at`` is of a script without spaces."""
    byte = data[at]
    if byte >= _FOUR_BYTES:  # planes 2 and 3 are ideographs: the code point's bits from 16 up are 2 or 3
        return ((np.int64(byte & 0x07) << 2) | (np.int64(data[at + 1] & 0x30) >> 4)) & ~1 == 2
    code = (np.int64(byte & 0x0F) << 12) | (np.int64(data[at + 1] & 0x3F) << 6) | np.int64(data[at + 2] & 0x3F)
    return spaceless[code]


@numba.njit(cache=True, nogil=True)
def space_out(data, offsets, rows, spaceless):
    """Return the documents with a character of a script without spaces: their rows, their bytes and their offsets.

    A space is written behind each such character.

    Args:
        data: Bytes of many texts in UTF-8.
        offsets: Document ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        rows: The documents to look at.
        spaceless: For each code point below 2^16 whether its script writes no spaces; none of them has two bytes.
    """
    size = 0
    for row in rows:
        size += offsets[row + 1] - offsets[row]
    found, bounds, count, to = rows.copy(), np.zeros(len(rows) + 1, dtype=np.int64), 0, 0
    # one byte more: a space is written behind a text's last character, needed or not
    out = np.empty(size + size // 3 + 1, dtype=np.uint8)
    for row in rows:
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            if data[at] < _THREE_BYTES:
                out[to] = data[at]
                to, at = to + 1, at + 1
                continue
            length = 4 if data[at] >= _FOUR_BYTES else 3
            for place in range(length):
                out[to + place] = data[at + place]
            out[to + length] = _SPACE  # the next byte takes its place if none belongs here
            to += length + _is_spaceless(data, at, spaceless)
            at += length
        if to - bounds[count] > end - offsets[row]:
            found[count], count = row, count + 1
            bounds[count] = to
        to = bounds[count]
    return found[:count], out[:to], bounds[: count + 1]
