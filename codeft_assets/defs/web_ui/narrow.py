"""Markdown for a narrow column: at a window of 1440 pixels the values of an asset's page have 380 of them.

One value that cannot be broken widens the table of all, whose right side is then cut. So lines of code are wrapped, of
a table the first columns are kept that fit, and a word that is wider than its column loses its middle. No mark is put
into a word to break it: what is copied from the page, a drop reason or a path, must be found where it is searched.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

COLUMN_CHARS = 45
"""Characters of the page's fixed-width font, 8.4 pixels wide, in 380 pixels."""
_TABLE_CHARS = 43.3
"""Of a table in them, without its own margins."""
_WORD_CHARS = COLUMN_CHARS - 7
"""Of a word outside code: the page's other font is wider."""
_LEAST = 8
"""Characters below which a column of long words says nothing."""
_BETWEEN_COLUMNS = 1.9
"""Width of the space between two columns, 16 pixels, in characters."""
_UNBROKEN = re.compile(r"(?:[^\s`-]|(?<!\w)-)+-?")
"""What a browser keeps on one line: it breaks after the hyphen of a word, not after a minus."""
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_MARK = re.compile(r"&#?\w+;|\\.|.")
"""A character as it is shown: an entity or a mark with its backslash is one."""
_CELL = re.compile(r"(?<!\\)\|")


def narrow(text: str) -> str:
    """Return Markdown that can be broken to the width of the column; a table loses the last columns that do not fit."""
    return "\n".join(_lines(text))


def wrapped(line: str, width: int = COLUMN_CHARS) -> list[str]:
    """Return a line of code in pieces of the column's width; an empty one stays."""
    kept = textwrap.wrap(line, width, drop_whitespace=False, replace_whitespace=False, expand_tabs=False)
    return kept or [""]


def _lines(text: str) -> Iterator[str]:
    fence, rows = "", []
    for line in [*text.split("\n"), None]:
        if rows and (line is None or not line.startswith("|")):
            yield from _fitting(rows)
            rows = []
        if line is None:
            return
        mark = _FENCE.match(line)
        if fence:
            fence = "" if line.strip() == fence else fence
            yield from wrapped(line)
        elif mark:
            fence = mark[1]
            yield line
        elif line.startswith("|"):
            rows.append([_shortened(cell.strip(), _WORD_CHARS) for cell in _CELL.split(line.strip())[1:-1]])
        else:
            yield _shortened(line, _WORD_CHARS)


def _fitting(rows: list[list[str]]) -> Iterator[str]:
    widths: list[int] = []
    used = 0.0
    for column in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True):
        left = _TABLE_CHARS - used - (_BETWEEN_COLUMNS if widths else 0)
        widest = max(map(_widest_word, column))
        if left >= _LEAST:
            widest = min(widest, int(left))  # its longest words lose their middle
        if widths and widest > left:
            break
        used = _TABLE_CHARS - left + widest
        widths.append(widest)
    for row in rows:
        cells = [_shortened(cell, width) for cell, width in zip(row, widths, strict=False)]
        yield f"| {' | '.join(cells)} |"


def _widest_word(cell: str) -> int:
    return 3 if _is_rule(cell) else max(map(len, _UNBROKEN.findall(cell)), default=0)


def _is_rule(cell: str) -> bool:
    return set(cell) <= set("-:")


def _shortened(text: str, width: int) -> str:
    """Return text in which every word has ``width`` characters at most between hyphens; links stay."""
    if "](" in text or _is_rule(text):
        return text
    return _UNBROKEN.sub(lambda word: without_middle(word[0], width), text)


def without_middle(word: str, width: int) -> str:
    """Return the beginning and the end of a word that is longer than ``width`` characters."""
    marks = _MARK.findall(word)
    if len(marks) <= width:
        return word
    begin = width // 2
    return "".join([*marks[:begin], "…", *marks[begin + 1 - width :]])
