"""The selection of XCoder (arXiv 2409.03810): complex documents first, right ones only, and none like one before it.

Invariant: every document gets one outcome, selected or a reason with its detail; equal input gives equal output,
whatever the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from codeft_assets.curation.report import StageReport

FAILS_TESTS, LEAKED, NEAR_COPY, NOT_WANTED = "fails_tests", "leaked", "near_copy", "not_wanted"
SELECTION_SCHEMA = {
    "document_id": pl.String,
    "source": pl.String,
    "complexity": pl.Float64,
    "num_tests": pl.UInt32,
    "quality": pl.Float64,
    "leak": pl.Float64,
    "distance": pl.Float64,
    "drop_reason": pl.String,
    "drop_detail": pl.String,
}
_BLOCK = 512
"""Documents that are compared with all selected ones at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionParams:
    """The bounds of a selection."""

    minimum_quality: float = 1.0
    """Share of a document's own tests that must pass, where it has any."""
    maximum_leak: float = 0.3
    """Overlap with a benchmark's item (``leak_index``) from which on a document is left out; the paper calls a set with
    an index above 0.3 leaked."""
    minimum_distance: float = 0.1
    """Cosine distance to every document that was selected before it. Of 10,000 public instructions 0.1 leaves 4,803, in
    128 dimensions: pairs at the bound are one task in other words; at 0.2 they are two tasks on one kind of value."""
    max_documents: int = 0
    """The most complex ones of those that qualify; 0: all."""

    def __post_init__(self) -> None:
        bounds = {"minimum_quality": 1, "maximum_leak": 1, "minimum_distance": 2}
        for name, most in bounds.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} {getattr(self, name)} must lie in 0..{most}; correct the selection")
        if self.max_documents < 0:
            raise ValueError(f"max_documents {self.max_documents} must be at least 0, which is all")


def complexity(signals: pl.DataFrame) -> pl.Series:
    """Return bits of vocabulary and of control: log2 of the different words plus log2 of the keywords, each plus 1.

    The paper trains a scorer on answers of a large model. This is a measurement of the text: more names and more
    branches are more to get right.
    """
    different = pl.col("num_words") * pl.col("unique_word_fraction")
    keywords = pl.col("num_words") * pl.col("keyword_fraction")
    bits = (different + 1).log(2) + (keywords + 1).log(2)
    return signals.select(complexity=bits.cast(pl.Float64))["complexity"]


def select_documents(
    documents: pl.DataFrame, vectors: npt.NDArray[np.float32], params: SelectionParams
) -> tuple[pl.DataFrame, StageReport]:
    """Return one row a document by ``SELECTION_SCHEMA``, and the row counts.

    Args:
        documents: ``document_id``, ``source``, ``complexity``, ``num_tests``, ``quality`` (the share of its tests that
            pass; null without tests) and ``leak`` (its largest overlap with an item).
        vectors: A unit vector a document, ``[documents, dimensions]``, in the same order.
        params: The bounds.
    """
    order = documents.select("complexity", "document_id", place=pl.int_range(pl.len()))
    order = order.sort("complexity", "document_id", descending=[True, False])["place"].to_numpy()
    ranked, own = documents[order], vectors[order]
    judged = ranked.with_columns(**_judgment(params))
    candidates = judged["drop_reason"].is_null().to_numpy()
    nearest, distance = _greedy(own, candidates, params)
    is_near = candidates & (nearest >= 0)
    wanted = params.max_documents or len(judged)
    is_late = candidates & ~is_near & (np.cumsum(candidates & ~is_near) > wanted)
    twin = judged["document_id"].gather(pl.Series(np.maximum(nearest, 0)))
    reason = pl.when(pl.Series(is_near)).then(pl.lit(NEAR_COPY)).when(pl.Series(is_late)).then(pl.lit(NOT_WANTED))
    detail = pl.when(pl.Series(is_near)).then(pl.format("of {}: distance {}", twin, pl.Series(distance).round(4)))
    late = pl.when(pl.Series(is_late)).then(pl.lit(f"beyond the {wanted} most complex"))
    rows = judged.with_columns(
        distance=pl.Series(distance).replace(np.inf, None),
        drop_reason=pl.coalesce("drop_reason", reason),
        drop_detail=pl.coalesce("drop_detail", detail, late, pl.lit("")),
    )
    rows = rows.select(list(SELECTION_SCHEMA)).cast(SELECTION_SCHEMA).sort("document_id")  # type: ignore[arg-type]
    dropped = dict(rows["drop_reason"].drop_nulls().value_counts().sort("drop_reason").iter_rows())
    num_out = rows.height - sum(dropped.values())
    return rows, StageReport(num_in=rows.height, num_out=num_out, dropped=dropped)


def _judgment(params: SelectionParams) -> dict[str, pl.Expr]:
    fails = pl.col("quality").fill_null(1.0) < params.minimum_quality
    leaks = pl.col("leak") > params.maximum_leak
    passed = (pl.col("quality") * pl.col("num_tests")).round().cast(pl.UInt32)
    return {
        "drop_reason": pl.when(fails).then(pl.lit(FAILS_TESTS)).when(leaks).then(pl.lit(LEAKED)),
        "drop_detail": pl.when(fails)
        .then(pl.format("{} of {} tests pass", passed, "num_tests"))
        .when(leaks)
        .then(pl.format("overlap {} with an item", pl.col("leak").round(3))),
    }


def _greedy(
    vectors: npt.NDArray[np.float32], candidates: npt.NDArray[np.bool_], params: SelectionParams
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return for each row the selected row before it that is too near, else -1, and the distance to the nearest.

    Rows are taken in their order; a block is compared with all that were selected before it by one product.
    """
    nearest = np.full(len(vectors), -1, dtype=np.int64)
    distance = np.full(len(vectors), np.inf)
    places = np.flatnonzero(candidates)
    kept = np.empty(len(places), dtype=np.int64)
    num_kept = 0
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        before = num_kept
        best, who = _nearest(vectors[block], vectors[kept[:before]])
        for number, row in enumerate(block.tolist()):
            gap, place = best[number], who[number]
            if num_kept > before:
                gaps = 1 - vectors[kept[before:num_kept]] @ vectors[row]
                least = int(gaps.argmin())
                if gaps[least] < gap:
                    gap, place = float(gaps[least]), before + least
            distance[row] = max(gap, 0.0)
            if gap < params.minimum_distance:
                nearest[row] = kept[place]
            else:
                kept[num_kept] = row
                num_kept += 1
    return nearest, distance


def _nearest(
    rows: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    if not len(others):
        return np.full(len(rows), np.inf), np.zeros(len(rows), dtype=np.int64)
    gaps = 1 - rows @ others.T
    who = gaps.argmin(axis=1)
    return gaps[np.arange(len(rows)), who].astype(np.float64), who
