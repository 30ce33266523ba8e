"""Two texts beside each other, as a Markdown table for metadata: equal lines are folded, differing ones bold."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator

from codeft_assets.base import markdown

_CONTEXT_LINES = 1
_MAX_ROWS = 24
_CELL_CHARS = 110
_PIECE = re.compile(r"\n|(?<=[.!?;:]) +")
"""Prose has few line ends: it is compared sentence by sentence."""


def side_by_side(left: str, right: str, header: tuple[str, str]) -> str:
    """Return the places where two texts differ, line beside line."""
    rows = list(itertools.islice(_rows(_PIECE.split(left), _PIECE.split(right)), _MAX_ROWS + 1))
    if len(rows) > _MAX_ROWS:
        rows[_MAX_ROWS:] = [("…", "…")]
    return markdown.table(header, rows or [("no difference in any line", "")])


def _rows(left: list[str], right: list[str]) -> Iterator[tuple[str, str]]:
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT_LINES)):
        if number:
            yield "⋯", "⋯"
        for tag, begin, end, other_begin, other_end in group:
            mark = "" if tag == "equal" else "**"
            for one, other in itertools.zip_longest(left[begin:end], right[other_begin:other_end], fillvalue=""):
                yield _cell(one, mark), _cell(other, mark)


def _cell(line: str, mark: str) -> markdown.Markup:
    """Return a line as code that keeps its indentation and cannot leave its cell."""
    if not line.strip():
        return markdown.Markup()
    shown = line if len(line) <= _CELL_CHARS else f"{line[: _CELL_CHARS - 1]}…"
    kept = re.sub(r"\s", "\u00a0", shown.replace("`", "'"))
    return markdown.Markup(f"{mark}`{kept}`{mark}")
