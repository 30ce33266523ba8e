"""Rows of tables in files: JSON, Parquet, CSV, TSV and text, compressed or not, as streams of bounded size.

The one reader of the Hub's files and of your own. ``datasets`` is not used for it: its loaders turn a column of mixed
types into JSON text, take "NA" in a CSV for null, refuse a file for one bad line and a cut-off file for a short one
(measured with 5.2).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import posixpath
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.origins.csv_rows import csv_rows
from codeft_assets.origins.json_rows import MAX_OBJECT_BYTES, CountedFile, bad_row, json_rows

TABLE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
MAX_EXPANSION = 200
"""Bytes that one compressed byte may hold: gzip's best on rows of text is about 20, that of a bomb 1,030."""
MIN_EXPANDED_BYTES = 64 * 2**20
"""So much is read whatever its ratio."""
_BUFFER_BYTES = 2**18
_BATCH_BYTES = 8 * 2**20
_BATCH_ROWS = 256
Stream = Any


class DamagedTableError(ValueError):
    """A table that was cut off or does not parse."""


class BombError(ValueError):
    """A compressed file that holds far more than any data does."""


def _zstd(stream: Stream) -> Stream:
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


_DECOMPRESS: Mapping[str, Callable[[Stream], Stream]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".zst": _zstd,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
COMPRESSIONS = tuple(_DECOMPRESS)


def is_table(path: str) -> bool:
    """True for the name of a table, compressed or not."""
    return _suffixes(path)[0] in TABLE_SUFFIXES


def table_rows(raw: Stream, path: str, size_bytes: int | None = None) -> Iterator[Row | Reject]:
    """Yield the rows of an open file in the format that its name says; a text file is one row, ``{"text": …}``.

    Raises:
        DamagedTableError: it does not parse, or ended before ``size_bytes``.
        BombError: it expands more than ``MAX_EXPANSION`` times.
    """
    try:
        yield from _rows(raw, path, size_bytes)
    except BombError:
        raise
    except (EOFError, ValueError, lzma.LZMAError, zlib.error, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and not _is_damage(error):
            raise
        raise DamagedTableError(f"does not parse ({type(error).__name__}: {str(error)[:200]})") from error


def _is_damage(error: OSError) -> bool:
    """True for the decompressors' errors, which are plain ``OSError`` without a number; the network's have a class."""
    return type(error) in {OSError, gzip.BadGzipFile} and error.errno is None


def _suffixes(path: str) -> tuple[str, str]:
    """Return the suffix of the format and that of the compression, each in lower case."""
    stem, suffix = posixpath.splitext(path.lower())
    return (posixpath.splitext(stem)[1], suffix) if suffix in _DECOMPRESS else (suffix, "")


def _rows(raw: Stream, path: str, size_bytes: int | None) -> Iterator[Row | Reject]:
    suffix, compression = _suffixes(path)
    if suffix == ".parquet":
        if compression:
            raise ValueError("a compressed .parquet file is not read; Parquet compresses its columns itself")
        yield from _parquet_rows(raw)
        return
    counted: Any = CountedFile(raw)
    stream: Any = io.BufferedReader(counted, _BUFFER_BYTES)
    if compression:
        expanded: Any = _ExpandedFile(_DECOMPRESS[compression](stream), counted)
        stream = io.BufferedReader(expanded, _BUFFER_BYTES)
    yield from _PARSERS[suffix](stream)
    if size_bytes is not None and counted.num_bytes < size_bytes and not raw.read(1):
        raise EOFError(f"{counted.num_bytes} of {size_bytes} bytes came")


_PARSERS: Mapping[str, Callable[[Stream], Iterator[Row | Reject]]] = {
    ".jsonl": lambda stream: json_rows(stream, is_lines=True),
    ".ndjson": lambda stream: json_rows(stream, is_lines=True),
    ".json": lambda stream: json_rows(stream, is_lines=False),
    ".csv": lambda stream: csv_rows(stream, ","),
    ".tsv": lambda stream: csv_rows(stream, "\t"),
    ".txt": lambda stream: _text_row(stream),
}


class _ExpandedFile(CountedFile):
    """The content of a compressed file, up to a bound that grows with the bytes read of it."""

    def __init__(self, file: Any, compressed: CountedFile) -> None:
        super().__init__(file)
        self._compressed = compressed

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into ``buffer`` and return their number."""
        count = super().readinto(buffer)
        if self.num_bytes > max(MIN_EXPANDED_BYTES, MAX_EXPANSION * self._compressed.num_bytes):
            raise BombError(
                f"expands {self._compressed.num_bytes} bytes to more than {self.num_bytes}, over {MAX_EXPANSION} times"
            )
        return count


def _text_row(stream: Stream) -> Iterator[Row | Reject]:
    content = stream.read(MAX_OBJECT_BYTES + 1)
    if len(content) > MAX_OBJECT_BYTES:
        yield bad_row("row_too_long", f"a text file of more than {MAX_OBJECT_BYTES} bytes", content)
        return
    try:
        yield {"text": content.decode("utf-8-sig")}
    except UnicodeDecodeError as error:
        yield bad_row("not_utf8", str(error), content)


def _parquet_rows(stream: Stream) -> Iterator[Row | Reject]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        batch_rows = min(max(_BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1), 1), _BATCH_ROWS)
        for batch in file.iter_batches(batch_size=batch_rows, row_groups=[number]):
            yield from _batch_rows(batch)


def _batch_rows(batch: pa.RecordBatch) -> Iterator[Row | Reject]:
    """Yield the rows; Arrow does not check that a text is UTF-8, so one that is not is found here."""
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            yield bad_row("not_utf8", str(error), b"")
            return
        for number in range(batch.num_rows):
            yield from _batch_rows(batch.slice(number, 1))
        return
    yield from rows
