"""Rows of tables in files: JSON lines, JSON, Parquet, CSV and TSV, compressed or not, as streams of bounded size."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import posixpath
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from codeft_assets.origins.json_rows import CountedFile, parse_json
from codeft_assets.origins.origin import MALFORMED, Row

TABLE_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
_BATCH_ROWS = 1000
Stream = Any


class DamagedTableError(ValueError):
    """A table that was cut off or does not parse."""


def _zstd(stream: Stream) -> Stream:
    # Arrow's stream reads, but has no lines; the counter makes it a raw file of Python's
    raw: Any = CountedFile(pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))
    return io.BufferedReader(raw)


_DECOMPRESS: Mapping[str, Callable[[Stream], Stream]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".zst": _zstd,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
COMPRESSIONS = tuple(_DECOMPRESS)


def is_table(path: str) -> bool:
    """True for the name of a table, compressed or not."""
    stem, suffix = posixpath.splitext(path.lower())
    return suffix in TABLE_SUFFIXES or (suffix in _DECOMPRESS and posixpath.splitext(stem)[1] in TABLE_SUFFIXES)


def table_rows(raw: Stream, path: str, size_bytes: int | None = None) -> Iterator[Row]:
    """Yield the rows of an open file in the format that its name says.

    Raises:
        DamagedTableError: it does not parse, or ended before ``size_bytes``.
    """
    try:
        yield from _rows(raw, path, size_bytes)
    except (OSError, EOFError, ValueError, csv.Error, lzma.LZMAError, pa.ArrowException) as error:
        cause = f"{type(error).__name__}: {str(error)[:200]}"
        raise DamagedTableError(f"does not parse ({cause}): it was cut off or is damaged") from error


def _rows(raw: Stream, path: str, size_bytes: int | None) -> Iterator[Row]:
    stem, suffix = posixpath.splitext(path.lower())
    if suffix == ".parquet":
        yield from _parquet_rows(raw)
        return
    decompress = _DECOMPRESS.get(suffix)
    counted: Any = CountedFile(raw)
    stream: Stream = io.BufferedReader(counted)
    yield from _parse(
        decompress(stream) if decompress else stream, posixpath.splitext(stem)[1] if decompress else suffix
    )
    if size_bytes is not None and counted.num_bytes != size_bytes:
        raise EOFError(f"{counted.num_bytes} of {size_bytes} bytes were read")


def _parse(stream: Stream, suffix: str) -> Iterator[Row]:
    if suffix in {".jsonl", ".json"}:
        return parse_json(stream)
    if suffix in {".csv", ".tsv"}:
        return _csv_rows(stream, "\t" if suffix == ".tsv" else ",")
    raise ValueError(f"a compressed {suffix} file is not read; Parquet compresses its columns itself")


def _parquet_rows(stream: Stream) -> Iterator[Row]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(stream).iter_batches(batch_size=_BATCH_ROWS):
        yield from batch.to_pylist()


def _csv_rows(stream: Stream, delimiter: str) -> Iterator[Row]:
    """Yield rows by the header's names; one of another length than the header is malformed."""
    csv.field_size_limit(sys.maxsize)
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    header = next(records, [])
    for record in records:
        if len(record) == len(header):
            yield dict(zip(header, record, strict=True))
        elif record:
            yield {MALFORMED: delimiter.join(record)}
