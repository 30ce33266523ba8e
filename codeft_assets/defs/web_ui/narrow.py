"""Markdown for a narrow column: at a window of 1440 pixels the values of an asset's page have 380 of them.

One value that cannot be broken widens the table of all, whose right side is then cut. So lines of code are wrapped,
long words get places where they may break, and of a table the first columns are kept that fit.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

COLUMN_CHARS = 45
"""Characters of the page's fixed-width font in 380 pixels."""
_BREAK = "\u200b"
_LONG = 12
_BETWEEN_COLUMNS = 2.2
"""Width of the space between two columns, in characters."""
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_PART_END = re.compile(r"(?<=[/_.:=])(?=[^\s/_.:=\\])")
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
            rows.append([_breakable(cell.strip()) for cell in _CELL.split(line.strip())[1:-1]])
        else:
            yield _breakable(line)


def _fitting(rows: list[list[str]]) -> Iterator[str]:
    num_kept, width, second = 0, 0.0, COLUMN_CHARS
    for column in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True):
        left = COLUMN_CHARS - width - (_BETWEEN_COLUMNS if num_kept else 0)
        widest = max(map(_widest_word, column))
        if num_kept == 1 and left >= _LONG:  # the second column always is: values without it say nothing
            second = widest = min(widest, int(left))
        if num_kept and widest > left:
            break
        width, num_kept = COLUMN_CHARS - left + widest, num_kept + 1
    for row in rows:
        cells = [_in_runs(cell, second) if number == 1 else cell for number, cell in enumerate(row[:num_kept])]
        yield f"| {' | '.join(cells)} |"


def _widest_word(cell: str) -> int:
    return 3 if set(cell) <= set("-:") else max(map(len, re.split(f"[\\s{_BREAK}-]+", cell)), default=0)


def _breakable(text: str) -> str:
    """Return a line whose long words may be broken after the marks in them; links, code and ids stay as they are."""
    if "](" in text or "`" in text:
        return text
    return re.sub(rf"\S{{{_LONG + 1},}}", lambda word: _in_pieces(word[0]), text)


def _in_pieces(word: str) -> str:
    return _in_runs(_BREAK.join(_PART_END.split(word)), COLUMN_CHARS - 7)


def _in_runs(text: str, width: int) -> str:
    """Return text whose words have a place to break after so many characters; links and code stay as they are."""
    if "](" in text or "`" in text:
        return text
    return re.sub(rf"[^\s{_BREAK}-]{{{width}}}(?=[^\s{_BREAK}-])", lambda run: run[0] + _BREAK, text)
