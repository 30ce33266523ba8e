"""Questions to whole tables that are answered in bounded memory: a shard at a time, the rest on disk."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Sequence

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from codeft_assets.store.tables import Table

MEMORY = "1GB"
"""Of DuckDB, which writes what needs more into a temporary folder."""


def bounded_connection(path: str, folder: str) -> duckdb.DuckDBPyConnection:
    """Return a connection to a database that keeps to ``MEMORY`` and puts the rest into ``folder``."""
    how = {"memory_limit": MEMORY, "temp_directory": folder, "preserve_insertion_order": False}
    return duckdb.connect(path, read_only=path != ":memory:", config=how)


def register(
    connection: duckdb.DuckDBPyConnection, name: str, parts: Iterable[pl.DataFrame], schema: pa.Schema
) -> None:
    """Let one query read ``parts`` as a table, once."""
    batches = (batch for part in parts for batch in part.to_arrow().cast(schema).to_batches())
    connection.register(name, pa.RecordBatchReader.from_batches(schema, batches))


def count_distinct(table: Table, column: str) -> int:
    """Return how many different values a column of text has."""
    with tempfile.TemporaryDirectory() as folder, bounded_connection(":memory:", folder) as connection:
        register(connection, "rows", table.read_parts([column]), pa.schema({column: pa.large_string()}))
        (found,) = connection.sql(f'SELECT count(*) FROM (SELECT DISTINCT "{column}" FROM rows)').fetchall()  # noqa: S608  a name of ours
    return found[0]


def sample_rows(
    table: Table, columns: Sequence[str], num_wanted: int, *, seed: int, where: pl.Expr | None = None
) -> pl.DataFrame:
    """Return ``num_wanted`` random rows, or all if there are fewer, in an order that depends on their ids.

    Args:
        table: With ``document_id``, whose hash is the draw.
        columns: Which columns.
        num_wanted: How many rows.
        seed: Of the draw.
        where: Which rows take part, by its columns; None for all.
    """
    drawn = list[tuple[int, int, int]]()
    needed = ["document_id", *(where.meta.root_names() if where is not None else [])]
    for number, part in enumerate(table.read_parts(needed)):
        rows = part.with_row_index("row").with_columns(draw=pl.col("document_id").hash(seed))
        chosen = (rows if where is None else rows.filter(where)).bottom_k(num_wanted, by="draw")
        found = ((draw, number, row) for draw, row in chosen.select("draw", "row").iter_rows())
        drawn = heapq.nsmallest(num_wanted, [*drawn, *found])
    parts = []
    for number, shard in enumerate(table.manifest().shards):
        rows = np.array(sorted(row for _, part, row in drawn if part == number), dtype=np.int64)
        if len(rows) or not number:
            parts.append(pl.DataFrame(table.read_rows(shard, rows, columns)))
    return pl.concat(parts)
