"""Which files of a folder are texts to train on, and what was left out of it: counted, and said in one line."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

LEFT_OUT_FOLDERS = frozenset(
    {"__pycache__", "node_modules", "site-packages", "dist-packages", "venv", "env", "build", "dist"}
)
"""Besides every folder whose name begins with a dot: copies of other people's code, and what tools made of yours."""
MAX_TEXT_BYTES = 400_000
"""Larger text files are tables and generated code."""
MAX_NOTEBOOK_BYTES = 16 * 2**20
"""Of a notebook most bytes are pictures, which are not read."""
EMPTY, TOO_LARGE, TEST = "empty files", f"files over {MAX_TEXT_BYTES:,} bytes", "tests"
_SHOWN_FOLDERS = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Counts what is left out while the files of a folder are listed."""

    counts: Counter[str] = field(default_factory=Counter)
    folders: set[str] = field(default_factory=set)
    examples: dict[str, str] = field(default_factory=dict)
    """The name of one file that was left out, by why."""

    def keeps_path(self, relative: str, *, left_out_folders: Iterable[str] = LEFT_OUT_FOLDERS) -> bool:
        """True for a file in no folder that is left out; ``relative`` is seen from the folder that was named."""
        *parents, name = relative.strip("/").split("/")
        found = [part for part in parents if part.startswith(".") or part in left_out_folders]
        self.folders.update(found[:1])
        return not found and not name.startswith(".")

    def keeps_size(self, path: str, size: int) -> bool:
        """True for a file that is neither empty nor too large."""
        limit = MAX_NOTEBOOK_BYTES if path.endswith(".ipynb") else MAX_TEXT_BYTES
        fault = EMPTY if size == 0 else TOO_LARGE if size > limit else ""
        if fault:
            self.counts[fault] += 1
            self.examples.setdefault(fault, posixpath.basename(path))
        return not fault

    def note(self) -> str:
        """Return one line for the operator, empty if nothing was left out."""
        named = {what: f" ({name}{', …' * (self.counts[what] > 1)})" for what, name in self.examples.items()}
        parts = [f"{what} {count:,}{named.get(what, '')}" for what, count in sorted(self.counts.items())]
        if self.folders:
            shown = sorted(self.folders)
            more = f" and {len(shown) - _SHOWN_FOLDERS} more" * (len(shown) > _SHOWN_FOLDERS)
            parts.append(f"folders named {', '.join(shown[:_SHOWN_FOLDERS])}{more}")
        return f"left out: {', '.join(parts)}" if parts else ""
