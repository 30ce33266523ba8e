"""Text as we keep it: one line ending, and no blank lines at its ends.

Invariant: ``normalize_text`` is idempotent and never changes the meaning of a program.
"""

from __future__ import annotations

import re

_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")


def normalize_text(text: str) -> str:
    """Return ``text`` with line feeds only, no NUL, no byte order mark, and no blank lines at its ends.

    Nothing else: blanks at the end of a line and accents that could be composed may stand in a string literal, and the
    indentation of the first line is part of a Python body.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").lstrip("\ufeff")
    return _BLANK_LINES.sub("", text).rstrip(" \t\n")
