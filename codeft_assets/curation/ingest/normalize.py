"""Text as we keep it: one line ending, no blank lines at the ends, and the language of its code.

Invariant: ``normalize_text`` is idempotent and never changes the meaning of a program.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

LANGUAGE_BY_SUFFIX = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".rs": "rust",
    ".go": "go",
    ".java": "java",
    ".c": "c",
    ".h": "c",
    ".cpp": "cpp",
    ".cc": "cpp",
    ".hpp": "cpp",
    ".cs": "csharp",
    ".rb": "ruby",
    ".php": "php",
    ".sh": "shell",
    ".bash": "shell",
    ".sql": "sql",
    ".html": "html",
    ".css": "css",
    ".kt": "kotlin",
    ".swift": "swift",
    ".lua": "lua",
    ".r": "r",
    ".jl": "julia",
    ".hs": "haskell",
}
LANGUAGE_BY_FENCE = {suffix.lstrip("."): language for suffix, language in LANGUAGE_BY_SUFFIX.items()} | {
    "python": "python",
    "python3": "python",
    "javascript": "javascript",
    "typescript": "typescript",
    "rust": "rust",
    "golang": "go",
    "c++": "cpp",
    "c#": "csharp",
    "csharp": "csharp",
    "ruby": "ruby",
    "shell": "shell",
    "kotlin": "kotlin",
    "haskell": "haskell",
    "julia": "julia",
}

_FENCE = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9+#]+)[^\n]*\n", re.MULTILINE)
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")
# Each pattern is a line that only this language writes; the language with most such lines wins.
_CUES = {
    "python": re.compile(
        r"^[ \t]*(?:def \w+\(.*\).*:|from [\w.]+ import |elif .*:|import [\w.]+$|class \w+.*:$)", re.M
    ),
    "javascript": re.compile(
        r"^[ \t]*(?:function \w*\(|(?:const|let|var) \w+ = .*;?$|module\.exports|console\.log\()", re.M
    ),
    "typescript": re.compile(
        r"^[ \t]*(?:interface \w+ \{|(?:export )?type \w+ =|.*\): (?:string|number|boolean|void)\b)", re.M
    ),
    "rust": re.compile(r"^[ \t]*(?:(?:pub )?fn \w+.*[{>]|let mut |impl[< ].*\{|use \w+::|#\[derive)", re.M),
    "go": re.compile(r"^(?:package \w+$|func (?:\(\w+ \*?\w+\) )?\w+\(.*\{|[ \t]+\w+(?:, \w+)? := )", re.M),
    "java": re.compile(r"^[ \t]*(?:public (?:static |final )*(?:class|void|int|String|boolean)|import java)", re.M),
    "cpp": re.compile(r"^[ \t]*(?:#include <(?:\w+)>|using namespace |std::\w+|template ?<)", re.M),
    "c": re.compile(r"^[ \t]*(?:#include [<\"]\w+\.h[>\"]|(?:static )?(?:int|void|char) \*?\w+\(.*\)\s*\{)", re.M),
    "sql": re.compile(r"^[ \t]*(?:SELECT .*|CREATE TABLE |INSERT INTO |FROM \w+.*|GROUP BY )", re.M),
    "shell": re.compile(r"^(?:#!/(?:usr/)?bin/(?:env )?(?:ba)?sh|[ \t]*(?:fi|done|esac)$|[ \t]*if \[\[? )", re.M),
}
_CUE_WINDOW_CHARS = 20_000


def normalize_text(text: str) -> str:
    """Return ``text`` with line feeds only, no NUL, no byte order mark, and no blank lines at its ends.

    Nothing else: blanks at the end of a line and accents that could be composed may stand in a string literal, and the
    indentation of the first line is part of a Python body.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").lstrip("\ufeff")
    return _BLANK_LINES.sub("", text).rstrip(" \t\n")


def language_from_path(path: str) -> str | None:
    """Return the language a file's suffix names, None if it names none."""
    return LANGUAGE_BY_SUFFIX.get(PurePosixPath(path).suffix.lower())


def detect_language(text: str) -> str:
    """Return the language of the code in ``text``: of its fences, else of its distinctive lines, else ``text``."""
    fences = Counter(LANGUAGE_BY_FENCE[tag.lower()] for tag in _FENCE.findall(text) if tag.lower() in LANGUAGE_BY_FENCE)
    if fences:
        return fences.most_common(1)[0][0]
    window = text[:_CUE_WINDOW_CHARS]
    cues = Counter({language: len(pattern.findall(window)) for language, pattern in _CUES.items()})
    language, num_cues = cues.most_common(1)[0]
    return language if num_cues else "text"
