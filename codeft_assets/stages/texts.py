"""Columns of documents across tables: everything but text of all documents, texts of a few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.store.tables import Table


def all_documents(tables: list[Table], columns: list[str]) -> pl.DataFrame:
    """Return columns of all documents of all sources; never ``text`` of everything."""
    return pl.concat([table.scan().select(columns) for table in tables]).collect()


@dataclass(frozen=True, slots=True)
class IdRange:
    """The documents whose ids, in hex, begin with certain bits."""

    part: int
    num_bits: int

    @classmethod
    def divide(cls, num_documents: int, max_documents: int) -> list[IdRange]:
        """Return ranges, in the order of ids, of about ``max_documents`` at most."""
        num_bits = max(-(-num_documents // max_documents) - 1, 0).bit_length()
        return [cls(part, num_bits) for part in range(1 << num_bits)]

    @property
    def name(self) -> str:
        """``part/number of parts``."""
        return f"{self.part}/{1 << self.num_bits}"

    def read(self, table: Table, columns: list[str] | None = None) -> pl.DataFrame:
        """Return the rows of a table with these ids, one shard in memory at a time."""
        shards = [table.scan_shard(shard).filter(self._holds()) for shard in table.manifest().shards]
        chosen = [rows.select(columns) if columns else rows for rows in shards]
        return pl.concat([rows.collect() for rows in chosen])

    def _holds(self) -> pl.Expr:
        bounds = [number << (32 - self.num_bits) for number in (self.part, self.part + 1)]
        first, behind = (f"{bound:08x}" for bound in bounds)
        is_last = self.part + 1 == 1 << self.num_bits
        return (pl.lit(self.part == 0) | (pl.col("document_id") >= first)) & (
            pl.lit(is_last) | (pl.col("document_id") < behind)
        )


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


def read_texts(tables: list[Table], document_ids: list[str]) -> list[str]:
    """Return the texts of a few documents, in order.

    Raises:
        ValueError: a document is in none of ``tables``.
    """
    ids = pl.concat([table.scan().select("document_id") for table in tables]).with_row_index("place")
    place = dict(ids.filter(pl.col("document_id").is_in(document_ids)).select("document_id", "place").collect().rows())
    if missing := set(document_ids) - set(place):
        raise ValueError(f"no documents/* table has {sorted(missing)[:3]}; materialize the sources again")
    wanted = np.array([place[document_id] for document_id in document_ids], dtype=np.uint32)
    texts = [""] * len(wanted)
    for positions, found in TextsByPlace(tables).batches(wanted):
        for position, text in zip(positions, found.to_pylist(), strict=True):
            texts[position] = text
    return texts
