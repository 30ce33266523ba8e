"""Rows from CSV and TSV, as a stream: a record that does not parse is a reject of one line, and the rest is read."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import Any

from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.origins.json_rows import MAX_ROW_BYTES, bad_row


def csv_rows(stream: Any, delimiter: str) -> Iterator[Row | Reject]:
    """Yield rows by the header's names; a record of another length than the header's is malformed.

    Every value is text as it is written: nothing is taken for a number or for null.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _Lines(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=""))
    header: list[str] = []
    for record in _records(lines, delimiter):
        if not header and isinstance(record, list):
            header = _unique(record)
        elif isinstance(record, Reject):
            yield record
        elif len(record) == len(header):
            yield dict(zip(header, record, strict=True))
        elif record:
            yield lines.reject_record(f"{len(record)} fields where the header has {len(header)}")


def _records(lines: _Lines, delimiter: str) -> Iterator[list[str] | Reject]:
    while lines.has_more():
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            while (record := next(reader, None)) is not None:
                yield record
                lines.forget()
        except csv.Error as error:
            yield lines.reject_line(str(error))


def _unique(names: list[str]) -> list[str]:
    """Return the names of columns; a name that comes again gets a number, so that no column hides another."""
    return [name if name not in names[:i] else f"{name}.{names[:i].count(name)}" for i, name in enumerate(names)]


class _Lines:
    """The lines of a file, those of the current record remembered until the record is known to be good.

    A quote that is never closed takes in all that follows: then its line alone is rejected, the others are read again.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._taken: list[str] = []
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(MAX_ROW_BYTES)
        if not line:
            raise StopIteration
        self._taken.append(line)
        return line

    def has_more(self) -> bool:
        """True unless all lines are read; looks one line ahead."""
        if not self._again and (line := self._text.readline(MAX_ROW_BYTES)):
            self._again.append(line)
        return bool(self._again)

    def forget(self) -> None:
        """Start a new record."""
        self._taken.clear()

    def reject_record(self, detail: str) -> Reject:
        """Return the current record as a reject."""
        content = "".join(self._taken).encode("utf-8", errors="surrogateescape")
        return bad_row("malformed_csv", detail, content)

    def reject_line(self, detail: str) -> Reject:
        """Return the first line of the current record as a reject; its other lines are read again."""
        first, *others = self._taken
        self._again.extendleft(reversed(others))
        self._taken = [first]
        reject = self.reject_record(detail)
        self.forget()
        return reject
