"""The test leakage index of XCoder (arXiv 2409.03810): how much of a benchmark's items a set of documents holds.

The overlap of an item with a document is the share of the item's word n-grams, of all widths from 5 to 13 together,
that the document holds. The index of a set is the mean over the items of their best overlap. Unlike a match, which is
a decision about one document, it is a number about a source: 1 where each item is in it somewhere, letter for letter.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from codeft_assets.curation.kernels.ngrams import find_word_grams, make_table
from codeft_assets.curation.text_buffers import text_buffers

WIDTHS = range(5, 14)
"""Words an n-gram; the paper's."""
_NOTHING = make_table(np.empty(0, dtype=np.uint64))
OVERLAP_SCHEMA = {"document": pl.Int64, "item": pl.Int64, "overlap": pl.Float64}


def item_overlaps(documents: pa.Array, items: pa.Array) -> pl.DataFrame:
    """Return ``document``, ``item`` and ``overlap`` of each document and item that share an n-gram.

    Args:
        documents: Texts.
        items: Texts of a benchmark's items; one without an n-gram of the widest kind is compared with nothing: many a
            problem in mathematics has no five words but "what is the value of".
    """
    shared, sizes = list[pl.DataFrame](), list[pl.DataFrame]()
    long_enough = np.flatnonzero(is_counted(items).to_numpy())
    for width in WIDTHS:
        postings = _item_grams(items, width).filter(pl.col("item").is_in(long_enough))
        table = make_table(postings["gram"].unique().sort().to_numpy())
        held = _grams(documents, width, table, everything=False).rename({"text": "document"}).unique()
        shared.append(held.join(postings, on="gram").group_by("document", "item").len())
        sizes.append(postings.group_by("item").len("size"))
    size = pl.concat(sizes).group_by("item").agg(pl.col("size").sum())
    found = pl.concat(shared).group_by("document", "item").agg(pl.col("len").sum()).join(size, on="item")
    overlaps = found.with_columns(overlap=pl.col("len") / pl.col("size")).select(list(OVERLAP_SCHEMA))
    return overlaps.cast(OVERLAP_SCHEMA).sort("document", "item")  # type: ignore[arg-type]


def is_counted(items: pa.Array) -> pl.Series:
    """Return whether each item has an n-gram of every width, and so counts in the index."""
    counted = _item_grams(items, WIDTHS[-1])["item"].unique()
    return pl.Series(np.isin(np.arange(len(items)), counted.to_numpy()))


def leak_index(overlaps: pl.DataFrame, num_items: int, *, best: int = 1) -> float:
    """Return the mean over all items of their mean overlap with the ``best`` documents; 0 without items.

    Args:
        overlaps: ``item`` and ``overlap``, of any number of documents.
        num_items: All items that have n-grams.
        best: Documents an item.
    """
    if not num_items:
        return 0.0
    top = overlaps.sort("overlap", descending=True).group_by("item").head(best)
    return float(top["overlap"].sum()) / best / num_items


def _item_grams(items: pa.Array, width: int) -> pl.DataFrame:
    return _grams(items, width, _NOTHING, everything=True).rename({"text": "item"}).unique()


def _grams(text: pa.Array, width: int, table: tuple[np.ndarray, np.ndarray], *, everything: bool) -> pl.DataFrame:
    data, offsets = text_buffers(text)
    (owners, grams, _, _), _ = find_word_grams(data, offsets, (width, width), (table, _NOTHING), everything)
    return pl.DataFrame({"text": owners, "gram": grams}, schema={"text": pl.Int64, "gram": pl.UInt64})
