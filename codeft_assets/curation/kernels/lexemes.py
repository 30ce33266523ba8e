"""The compiled scan of comments, strings, brackets and markup: a lexer coarse enough to run at memory speed.

Invariant: it never fails. A text that is no code yields shares near zero, broken code yields unbalanced brackets.
It calls no compiled function of another file, whose changes numba's cache would not see: see ``hash_tables``.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

NO_COMMENTS, HASH, SLASH, DASH = 0, 1, 2, 3
"""Comment styles: none, ``#`` (with triple-quoted docstrings), ``//`` with ``/* */``, ``--``."""

COMMENT_STYLE_BY_LANGUAGE = {
    **dict.fromkeys(("python", "shell", "ruby", "r", "julia"), HASH),
    **dict.fromkeys(("javascript", "typescript", "java", "c", "cpp", "csharp", "go", "rust", "php"), SLASH),
    **dict.fromkeys(("kotlin", "swift", "css"), SLASH),
    **dict.fromkeys(("sql", "lua", "haskell"), DASH),
}
"""Language -> comment style; languages that are not named have no comments."""

# The order counts: a backslash escapes from ``_STRING`` on.
_CODE, _COMMENT, _BLOCK, _STRING, _DOCSTRING = 0, 1, 2, 3, 4
_QUOTE, _APOSTROPHE, _BACKTICK, _NEWLINE, _BACKSLASH = 34, 39, 96, 10, 92


def _event_bytes() -> npt.NDArray[np.bool_]:
    """Return by state which bytes need a look; all others are skipped in a tight loop."""
    events = np.zeros((5, 256), dtype=np.bool_)
    # in code: openers, brackets and tags; in a comment or block its end; in strings quotes and escapes
    for state, chars in enumerate(("#/-\"'`()[]{}<", "\n", "*", "\"'`\n\\", "\"'\\")):
        events[state, [ord(char) for char in chars]] = True
    return events


_EVENTS = _event_bytes()


@numba.njit(cache=True, nogil=True)
def _is_letter(byte):
    return 97 <= byte | 32 <= 122  # bit 32 is the difference of a and A


@numba.njit(cache=True, nogil=True)
def _is_contraction(data, at, start, end):
    """Return whether the apostrophe at ``at`` stands inside an English word; ``b'x'`` is a string, ``don't`` is not."""
    if at == start or at + 1 >= end or not _is_letter(data[at - 1]) or not _is_letter(data[at + 1]):
        return False
    before = data[at - 1] | 32
    is_prefix = before == 98 or before == 102 or before == 114 or before == 117  # b f r u
    # a prefix stands alone; the b of "grab's" has a letter before it
    return not is_prefix or (at - start > 1 and _is_letter(data[at - 2]))


@numba.njit(cache=True, nogil=True)
def _opens(data, at, start, end, style):
    """Return the state that ``at`` opens in code and the length of its opener; (``_CODE``, 1) if none."""
    byte = data[at]
    second = data[at + 1] if at + 1 < end else np.uint8(0)
    # 35 "#", 47 "/", 42 "*", 45 "-"
    if style == HASH and byte == 35:
        return _COMMENT, 1
    if style == SLASH and byte == 47 and second == 47:
        return _COMMENT, 2
    if style == SLASH and byte == 47 and second == 42:
        return _BLOCK, 2
    if style == DASH and byte == 45 and second == 45:
        return _COMMENT, 2
    if byte == _APOSTROPHE and _is_contraction(data, at, start, end):
        return _CODE, 1
    triple = second == byte and at + 2 < end and data[at + 2] == byte
    if byte == _BACKTICK and (triple or style != SLASH):  # a Markdown fence, or a command substitution
        return _CODE, 3 if triple else 1
    if byte == _QUOTE or byte == _APOSTROPHE or byte == _BACKTICK:
        return (_DOCSTRING, 3) if triple and style == HASH else (_STRING, 1)
    return _CODE, 1


@numba.njit(cache=True, nogil=True)
def _closes(data, at, end, state, opener):
    """Return the length of the closer of ``state`` at ``at``, 0 if there is none."""
    byte = data[at]
    if state == _COMMENT:
        return 1 if byte == _NEWLINE else 0
    if state == _BLOCK:
        return 2 if byte == 42 and at + 1 < end and data[at + 1] == 47 else 0
    if state == _STRING:
        # a quote that is never closed ends with its line, so that one apostrophe cannot take the rest of a file
        return 1 if byte == opener or (byte == _NEWLINE and opener != _BACKTICK) else 0
    return 3 if byte == opener and at + 2 < end and data[at + 1] == opener and data[at + 2] == opener else 0


@numba.njit(cache=True, nogil=True)
def _brackets(byte, depths):
    """Count ``byte`` if it is a bracket; return 1 for a closing one that nothing opened."""
    # 40 and 41 are ( and ), 91 and 93 [ and ], 123 and 125 { and }
    kind = 0 if byte == 40 or byte == 41 else 1 if byte == 91 or byte == 93 else 2
    if byte == 40 or byte == 91 or byte == 123:
        depths[kind] += 1
        depths[3] += 1
    elif byte == 41 or byte == 93 or byte == 125:
        depths[3] += 1
        if depths[kind] == 0:
            return 1
        depths[kind] -= 1
    return 0


@numba.njit(cache=True, nogil=True)
def _plain_bytes(data, at, end, state):
    """Return where the run of bytes ends that cannot change ``state``."""
    while at < end and not _EVENTS[state, data[at]]:
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _scan_document(data, start, end, style, row):
    """Store the shares of comments, docstrings and block comments, strings, stray brackets, tags, digits in code."""
    sizes = np.zeros(5, dtype=np.int64)  # bytes by state
    depths = np.zeros(4, dtype=np.int64)  # open (, [, {; all brackets
    state, opener, stray, tags, digits, at = _CODE, np.uint8(0), 0, 0, 0, start
    while at < end:
        stop = _plain_bytes(data, at, end, state)
        sizes[state] += stop - at
        if state == _CODE:
            for byte in data[at:stop]:
                digits += 48 <= byte <= 57
        at = stop
        if at == end:
            break
        byte, length = data[at], 1
        if state != _CODE:
            skip = 2 if byte == _BACKSLASH and state >= _STRING else 0
            closed = 0 if skip else _closes(data, at, end, state, opener)
            length = max(skip, closed, 1)  # at least one: the scan always ends
            sizes[state] += length
            state = _CODE if closed else state
            at += length
            continue
        # 60 "<", 47 "/": a tag opens or closes
        if byte == 60 and at + 1 < end and (data[at + 1] == 47 or _is_letter(data[at + 1])):
            tags += 1
        if style != NO_COMMENTS:
            state, length = _opens(data, at, start, end, style)
            opener = byte
        stray += _brackets(byte, depths)
        sizes[state] += length
        at += length
    size = max(end - start, 1)
    row[0], row[1], row[2] = sizes[_COMMENT] / size, (sizes[_BLOCK] + sizes[_DOCSTRING]) / size, sizes[_STRING] / size
    # closing brackets that nothing opened and opening ones that nothing closed
    row[3] = (stray + depths[0] + depths[1] + depths[2]) / max(depths[3], 1)
    row[4], row[5] = tags / size, digits / size


@numba.njit(cache=True, nogil=True)
def lexeme_signals(data, offsets, styles):
    """Return the shares that ``_scan_document`` stores, one float32 row a document.

    Args:
        data: Bytes of all documents.
        offsets: Document ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        styles: Comment style of each document.
    """
    rows = np.zeros((styles.size, 6), dtype=np.float32)
    for document in range(styles.size):
        _scan_document(data, offsets[document], offsets[document + 1], styles[document], rows[document])
    return rows
