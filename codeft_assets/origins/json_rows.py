"""Rows from JSON: lines, an array, or one object per file; a line that does not parse is a row of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from codeft_assets.origins.origin import MALFORMED, Row


def parse_json(stream: Any) -> Iterator[Row]:
    """Yield the rows of a binary stream; a line that is no object becomes a row ``{MALFORMED: line}``."""
    first = stream.readline()
    if not first.strip():
        return
    row = _object(first)
    if row is None:  # an array, or one object over many lines
        value = json.loads(first + stream.read())
        yield from value if isinstance(value, list) else [value]
        return
    yield row
    for line in stream:
        if line.strip():
            yield _object(line) or {MALFORMED: line.decode("utf-8", errors="replace")}


def _object(line: bytes) -> Row | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class CountedFile(io.RawIOBase):
    """Counts the bytes that were read."""

    def __init__(self, file: Any) -> None:
        self._file, self.num_bytes = file, 0

    def readable(self) -> bool:
        """True: it is for reading only."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into ``buffer`` and return their number."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.num_bytes += len(data)
        return len(data)
