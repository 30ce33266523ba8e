"""Markdown: one table, one fence, one escape."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ESCAPES = (
    *(("&", "&amp;"), ("\\", "&#92;"), ("<", "&lt;"), ("|", "&#124;"), ("[", "&#91;"), ("]", "&#93;"), ("`", "'")),
    *(("*", "\\*"), ("~", "\\~")),
)
"""Entities where a backslash would not do: a backslash in the text before the mark would take its effect away."""


_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore that may begin or end emphasis; between two letters or digits it cannot."""


class Markup(str):
    """Text that is Markdown already: a cell of this type is not escaped."""

    __slots__ = ()


def escape(text: str) -> str:
    """Return ``text`` as one line in which nothing is markup: documents are hostile until shown otherwise."""
    for mark, shown in _ESCAPES:
        text = text.replace(mark, shown)
    return re.sub(r"\s+", " ", _EMPHASIS.sub(r"\\_", text))


def cell(value: object) -> str:
    """Return a value as a table's cell: numbers with separators, ``None`` as a dash, text escaped."""
    if value is None:
        return "–"
    if isinstance(value, Markup):
        return re.sub(r"[^\S\u00a0]+", " ", value.replace("|", "\\|"))  # no-break spaces are an indentation
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return escape(str(value))


def table(columns: Iterable[object], rows: Iterable[Iterable[object]], *, numeric: Iterable[object] = ()) -> str:
    """Return a table whose cells cannot break out of it.

    Args:
        columns: The header.
        rows: Cells in the order of ``columns``; see ``cell``.
        numeric: Columns that are aligned to the right.
    """
    header, right = list(columns), set(numeric)
    lines = [[cell(column) for column in header], ["---:" if column in right else "---" for column in header]]
    lines += [[cell(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fence(text: str, language: str = "text") -> str:
    """Return ``text`` as a code block that it cannot close: the fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return f"{mark}{language}\n{text}\n{mark}"
