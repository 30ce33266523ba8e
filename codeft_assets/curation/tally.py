"""Sums over parts of a table, of which one is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import polars.selectors as cs


def sum_by(parts: Iterable[pl.DataFrame], *columns: str) -> pl.DataFrame:
    """Return the sums of all other columns of ``parts`` by ``columns``, in the order in which these come first.

    Args:
        parts: At least one, all with the same columns; there are few values to sum by.
        columns: By which.
    """
    total: pl.DataFrame | None = None
    for part in parts:
        wide = part.with_columns(cs.integer().exclude(columns).cast(pl.Int64))
        both = wide if total is None else pl.concat([total, wide.select(total.columns)])
        total = both.group_by(columns, maintain_order=True).agg(pl.all().sum())
    assert total is not None, "there is at least one part"
    return total
