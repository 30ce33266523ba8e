"""A shard as the bytes of a parquet file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_GROUP_BYTES = 1 << 20
"""About the bytes that are decompressed to read one row; a page of parquet is as large, so nothing is lost."""
_MIN_GROUP_ROWS = 16


def to_parquet(rows: pa.Table, *, in_parts: bool) -> bytes:
    """Return ``rows`` as a zstd parquet file; ``in_parts`` gives every page a sum, for ``read_part``."""
    buffer = io.BytesIO()
    rows_per_group = max(rows.num_rows * _GROUP_BYTES // max(rows.nbytes, 1), _MIN_GROUP_ROWS)
    how: dict[str, Any] = {"compression": "zstd", "compression_level": 3}
    if in_parts:  # between stages, mostly hashes: no codec makes them smaller, no dictionary finds one twice
        codecs = {field.name: "zstd" if _is_text(field.type) else "none" for field in rows.schema}
        how = {"compression": codecs, "use_dictionary": False, "write_page_checksum": True}
    with pq.ParquetWriter(buffer, rows.schema, **how) as writer:
        for first in range(0, max(rows.num_rows, 1), rows_per_group):
            # combine_chunks: the bytes, and so the hash, must not depend on how the rows were batched
            writer.write_table(rows.slice(first, rows_per_group).combine_chunks(), rows_per_group)
    return buffer.getvalue()


def read_columns(data: bytes, columns: Sequence[str] | None) -> pa.Table:
    """Return columns of a file, None for all."""
    return pq.read_table(pa.BufferReader(arrow_memory(data)), columns=None if columns is None else list(columns))


def read_rows(data: bytes, rows: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
    """Return rows by their sorted numbers; only the row groups that hold one are decompressed."""
    file = pq.ParquetFile(pa.BufferReader(arrow_memory(data)))
    sizes = np.array([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
    group_of_row = np.searchsorted(np.cumsum(sizes), rows, side="right")
    groups, group_of_row = np.unique(group_of_row, return_inverse=True)
    begins = (np.cumsum(sizes) - sizes)[groups]
    places = rows - begins[group_of_row] + (np.cumsum(sizes[groups]) - sizes[groups])[group_of_row]
    return file.read_row_groups(groups.tolist(), columns=list(columns)).take(pa.array(places))


def read_part(
    opened: Any, columns: Sequence[str] | None, where: tuple[str, int] | None, *, is_remote: bool
) -> pa.Table:
    """Return columns of a file that was written ``in_parts``, of the rows that have a value in a sorted column.

    Raises:
        ArrowException | OSError: the sum of a page that is read is wrong.
    """
    file = pq.ParquetFile(opened, page_checksum_verification=True, pre_buffer=is_remote)
    columns = list(file.schema_arrow.names if columns is None else columns)
    if where is None:
        return file.read(columns)
    name, value = where
    number = file.schema_arrow.get_field_index(name)
    bounds = [file.metadata.row_group(group).column(number).statistics for group in range(file.num_row_groups)]
    groups = [group for group, found in enumerate(bounds) if found and found.min <= value <= found.max]
    rows = file.read_row_groups(groups, list(dict.fromkeys([name, *columns])))
    return rows.filter(pc.field(name) == value).select(columns)


def arrow_memory(data: bytes) -> pa.Buffer:
    """Return a copy that Arrow owns: a thread of its that still holds Python's bytes at exit aborts the process."""
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return buffer


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
