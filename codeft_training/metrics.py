"""What a run measures, one JSON object a line, in ``metrics.jsonl``; a resumed run has no entry twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeft_training.pipes import Reporter


class Metrics:
    """Records entries to a file and tells the reporter."""

    def __init__(self, path: Path, reporter: Reporter) -> None:
        self._path, self._reporter = path, reporter

    def entries(self) -> list[dict[str, Any]]:
        """Return all that was recorded so far."""
        if not self._path.is_file():
            return []
        lines = self._path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]  # a killed process may leave half a line

    def rewind(self, step: int) -> None:
        """Drop what was recorded after ``step``: a resumed run records it again."""
        kept = [entry for entry in self.entries() if entry["step"] <= step]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(json.dumps(entry) + "\n" for entry in kept))

    def record(self, entry: Mapping[str, Any], line: str) -> None:
        """Record an entry, and ``line`` in the log."""
        with self._path.open("a") as file:
            file.write(json.dumps(dict(entry)) + "\n")
        self._reporter.log(line)
        self._reporter.observe(entry)
