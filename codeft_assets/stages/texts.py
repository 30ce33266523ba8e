"""Columns of documents across tables: everything but text of all documents, texts of a few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.store.tables import Table


def all_documents(tables: list[Table], columns: list[str]) -> pl.DataFrame:
    """Return columns of all documents of all sources; never ``text`` of everything."""
    return pl.concat([table.scan().select(columns) for table in tables]).collect()


def text_column(table: pa.Table) -> pa.Array:
    """Return the texts as one Arrow array, which the kernels read in place."""
    column = table["text"]
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even a single chunk
    return whole.cast(pa.large_string())


class TextsByPlace:
    """Gives texts by a document's place among all documents: shards in order, rows in order."""

    def __init__(self, tables: list[Table]) -> None:
        self._shards = [(table, shard) for table in tables for shard in table.manifest().shards]
        self._begins = np.cumsum([0, *(shard.num_rows for _, shard in self._shards)])

    def batches(self, places: npt.NDArray[np.unsignedinteger]) -> Iterator[tuple[Rows, pa.Array]]:
        """Yield, shard by shard, positions in ``places`` and the texts of these documents; a text is read once.

        Raises:
            CorruptShardError: a shard's bytes changed since it was written.
        """
        order = np.argsort(places, kind="stable")
        bounds = np.searchsorted(places[order], self._begins)
        for number in np.flatnonzero(np.diff(bounds)):
            positions = order[bounds[number] : bounds[number + 1]]
            table, shard = self._shards[number]
            rows = places[positions].astype(np.int64) - self._begins[number]
            yield positions, text_column(table.read_rows(shard, rows, ["text"]))


def find_documents(tables: list[Table], document_ids: list[str], columns: list[str]) -> pl.DataFrame:
    """Return columns of a few documents, a shard in memory at a time, in the order in which they are stored."""
    is_wanted, parts = pl.col("document_id").is_in(document_ids), list[pl.DataFrame]()
    for table in tables:
        for shard in table.manifest().shards:
            rows = table.scan_shard(shard).select(is_wanted).collect().to_series().arg_true().to_numpy()
            if len(rows):
                parts.append(pl.DataFrame(table.read_rows(shard, rows.astype(np.int64), columns)))
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))


def read_texts(tables: list[Table], document_ids: list[str]) -> list[str]:
    """Return the texts of a few documents, in order.

    Raises:
        ValueError: a document is in none of ``tables``.
    """
    text = dict(find_documents(tables, document_ids, ["document_id", "text"]).iter_rows())
    if missing := set(document_ids) - set(text):
        raise ValueError(f"no documents/* table has {sorted(missing)[:3]}; materialize the sources again")
    return [text[document_id] for document_id in document_ids]
