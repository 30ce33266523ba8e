"""Cuts: of each source the documents, in a random order, before which fewer tokens stand than are wanted.

Documents come in parts, of which one is in memory at a time. A cut is found in two looks: tokens are counted by the
upper bits of the random number, then the documents of the one range that holds the cut are put in order.

Invariant: a cut is the same however the documents are divided into parts, and numbers into ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from codeft_assets.curation.tally import sum_by

Rows = Callable[[], Iterator[pl.DataFrame]]
"""Yields ``source``, ``tokens`` and the columns of ``ORDER``, in parts; it is called twice."""
ORDER = ("rank", "draw", "id")
CUT_SCHEMA = {
    "source": pl.String,
    "taken": pl.Int64,
    "last_rank": pl.UInt64,
    "last_draw": pl.UInt64,
    "last_id": pl.String,
}
"""One row a source: its last document that is taken, and the tokens of all that are."""


def find_cuts(rows: Rows, wanted: Mapping[str, float], num_bits: int = 0) -> pl.DataFrame:
    """Return by ``CUT_SCHEMA`` where each source is cut; no row for one of which nothing is wanted.

    Args:
        rows: The documents; those of one order, a group, are taken together.
        wanted: Source -> tokens; a document is taken if fewer stand before it.
        num_bits: Of the ranges: of ``n`` documents, about ``n / 2**num_bits`` are put in order.
    """
    positive = [(source, tokens) for source, tokens in wanted.items() if tokens > 0]
    if not positive:
        return pl.DataFrame(schema=CUT_SCHEMA)
    bounds = pl.DataFrame(positive, schema={"source": pl.String, "wanted": pl.Float64}, orient="row")
    in_range = (pl.col("rank") // 2 // (1 << (63 - num_bits))).alias("range")
    counted = sum_by((part.select("source", in_range, "tokens") for part in rows()), "source", "range")
    edges = _last_taken(counted, bounds.with_columns(before=0), "range")
    edge = edges.select("source", "range", "wanted", "before")
    inside = (part.with_columns(in_range).join(edge, on=["source", "range"]) for part in rows())
    listed = sum_by((part.select("source", *ORDER, "tokens") for part in inside), "source", *ORDER)
    cuts = _last_taken(listed, edge.drop("range"), *ORDER)
    named = {f"last_{name}": name for name in ORDER}
    return cuts.select("source", taken=pl.col("before") + pl.col("tokens"), **named).cast(CUT_SCHEMA)  # type: ignore[arg-type]


def _last_taken(counted: pl.DataFrame, bounds: pl.DataFrame, *order: str) -> pl.DataFrame:
    """Return of each source the last row with fewer tokens ``before`` it than are wanted."""
    before = pl.col("before") + pl.col("tokens").cum_sum().over("source") - pl.col("tokens")
    rows = counted.join(bounds, on="source").sort("source", *order).with_columns(before=before)
    return rows.filter(pl.col("before") < pl.col("wanted")).unique("source", keep="last", maintain_order=True)


def is_taken(*order: str) -> pl.Expr:
    """Return whether a row, joined to its source's cut, is taken: ``order`` names its columns of ``ORDER``."""
    taken = pl.lit(value=True)
    for name, last in reversed(list(zip(order, ORDER, strict=True))):
        bound = pl.col(f"last_{last}")
        taken = (pl.col(name) < bound) | ((pl.col(name) == bound) & taken)
    return taken.fill_null(value=False)
