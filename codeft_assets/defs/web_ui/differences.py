"""Where two texts differ, as a diff in Markdown: equal lines are folded, and no line is wider than the page."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator

from codeft_assets.base import markdown
from codeft_assets.defs.web_ui.narrow import COLUMN_CHARS, wrapped

_CONTEXT_LINES = 1
_MAX_LINES = 24
_PIECE = re.compile(r"\n|(?<=[.!?;:]) +")
"""Prose has few line ends: it is compared sentence by sentence."""


def differences(first: str, second: str, names: tuple[str, str]) -> str:
    """Return the places where two texts differ: lines of the first after ``-``, of the second after ``+``."""
    lines = list(itertools.islice(_lines(_PIECE.split(first), _PIECE.split(second)), _MAX_LINES + 1))
    lines[_MAX_LINES:] = ["…"] if len(lines) > _MAX_LINES else []
    head = [line for mark, name in zip("-+", names, strict=True) for line in _marked(mark, name)]
    return markdown.fence("\n".join([*head, "", *(lines or ["no difference in any line"])]), "diff")


def _lines(first: list[str], second: list[str]) -> Iterator[str]:
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT_LINES)):
        if number:
            yield "⋯"
        for tag, begin, end, other_begin, other_end in group:
            for line in first[begin:end]:
                yield from _marked(" " if tag == "equal" else "-", line)
            for line in second[other_begin:other_end] if tag != "equal" else ():
                yield from _marked("+", line)


def _marked(mark: str, line: str) -> list[str]:
    return [f"{mark} {piece}" for piece in wrapped(line, COLUMN_CHARS - 2)]
