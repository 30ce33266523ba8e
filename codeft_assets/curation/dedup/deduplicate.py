"""Exact and near duplicates, without chains: a document goes only if it is verified similar to one that is kept.

Invariant: for every removed document the kept representative's exact Jaccard similarity is at least the threshold (1.0
for exact duplicates), and the result does not depend on the order or grouping of the input, nor on what evidence an
earlier run left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.dedup.candidates import (
    MAX_KEYS,
    BandKeys,
    Pairs,
    candidate_pairs,
    distinct_pairs,
    halves,
    numbered,
)
from codeft_assets.curation.dedup.minhash import MinHashParams
from codeft_assets.curation.dedup.shingle_sets import Rows, ShingleSets
from codeft_assets.curation.kernels.buckets import bucket_pairs, greedy_keep
from codeft_assets.curation.report import StageReport

Similarity = npt.NDArray[np.float32]

TextsOf = Callable[[Rows], Iterator[tuple[Rows, pa.Array]]]
"""Yields the texts of documents by row in batches: positions among the rows, and their texts. Only candidates are asked
for, and each of them once."""

EXACT, NEAR = "exact_duplicate", "near_duplicate"
MAX_ROUNDS = 6
"""A document whose neighbor was removed is tested against the neighbor's keeper; chains longer than this stay kept."""

CLUSTER_COLUMNS = ("document_id", "representative_id", "kind", "jaccard")
EVIDENCE_SCHEMA = {"later": pl.UInt64, "earlier": pl.UInt64, "jaccard": pl.Float32}
"""Similarities found before, by the two documents' ``shingle_sum``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupParams:
    """When two documents are the same."""

    minhash: MinHashParams = field(default_factory=MinHashParams)
    threshold: float = 0.7
    """Smallest Jaccard similarity of word 5-shingles at which a document goes."""
    max_keys: int = MAX_KEYS

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} must lie in (0, 1]; 0.7 is what peers use")
        if self.max_keys < 1:
            raise ValueError(f"max_keys {self.max_keys} must be at least 1; {1 << 24} take about 700 MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What deduplication found."""

    clusters: pl.DataFrame
    """One row per removed document, ``CLUSTER_COLUMNS``, by id; ids have the type they came with."""
    evidence: pl.DataFrame
    """The similarity of every pair that was looked at, by ``EVIDENCE_SCHEMA``, for the next run."""
    num_pairs: int
    num_verified: int
    """Pairs whose texts had to be read; the others were known."""
    report: StageReport


def deduplicate(
    documents: pl.DataFrame,
    band_keys: BandKeys,
    texts_of: TextsOf,
    params: DedupParams,
    evidence: pl.DataFrame | None = None,
) -> Duplicates:
    """Find the documents to remove, each with the kept document it is similar to.

    Args:
        documents: ``document_id`` and ``content_hash`` of any type that sorts, ``priority`` (the source's; lower
            stays), ``educational_value``, ``num_chars``, ``num_shingles``, ``shingle_sum``. Duplicates are kept in this
            order: lower priority number, higher educational value, longer text, smaller id.
        band_keys: Keys of one band for all ``documents``, in their order.
        texts_of: Gives the texts of candidates.
        params: Similarity threshold and signature parameters.
        evidence: What an earlier run returned, of these or other documents.

    Raises:
        ValueError: there are 2^32 documents or more.
    """
    if documents.height >= 1 << 32:
        raise ValueError(f"{documents.height} documents: pairs are numbered in 32 bits; deduplicate in parts")
    ranked = (
        documents.lazy()
        .with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        .sort(["priority", "educational_value", "num_chars", "document_id"], descending=[False, True, True, False])
        .select("row", "document_id", "content_hash", "num_shingles", "shingle_sum")
        .collect()
    )
    first = _first_of_equals(ranked["content_hash"])
    is_copy = first != np.arange(ranked.height)
    same = np.ones(is_copy.sum(), dtype=np.float32)
    exact = _clusters(ranked["document_id"], np.flatnonzero(is_copy), first[is_copy], EXACT, same)
    unique = ranked.drop("content_hash").filter(pl.Series(~is_copy))
    similarities = _Similarities(unique, texts_of, params, evidence)
    near = _near_duplicates(unique, band_keys, similarities, params)
    clusters = pl.concat([_follow(exact, near), near]).sort("document_id")
    return Duplicates(
        clusters=clusters,
        evidence=similarities.evidence(),
        num_pairs=len(similarities.pairs),
        num_verified=similarities.num_verified,
        report=StageReport(
            num_in=documents.height,
            num_out=documents.height - clusters.height,
            dropped={kind: part.height for kind, part in ((EXACT, exact), (NEAR, near)) if part.height},
        ),
    )


def _first_of_equals(hashes: pl.Series) -> Rows:
    """Return for each row the first row of the same hash, itself if there is none; few rows are grouped at all."""
    rows, is_shared = np.arange(len(hashes)), np.zeros(len(hashes), dtype=np.bool_)
    for shared in halves(bucket_pairs(hashes.hash(seed=1).to_numpy(), 0, 0)):
        is_shared[shared] = True
    of_shared = pl.DataFrame({"row": np.flatnonzero(is_shared), "hash": hashes.filter(pl.Series(is_shared))})
    rows[is_shared] = of_shared.select(pl.col("row").first().over("hash"))["row"].to_numpy()
    return rows


def _clusters(ids: pl.Series, removed: Rows, keeper: Rows, kind: str, jaccard: Similarity) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "document_id": ids.gather(removed),
            "representative_id": ids.gather(keeper),
            "kind": pl.Series([kind], dtype=pl.String).new_from_index(0, len(removed)),
            "jaccard": jaccard,
        }
    )


def _follow(exact: pl.DataFrame, near: pl.DataFrame) -> pl.DataFrame:
    """Point exact duplicates of a document that went as a near duplicate to the keeper of that document."""
    moved = near.select(
        pl.col("document_id").alias("representative_id"), keeper="representative_id", similarity="jaccard"
    )
    return (
        exact.join(moved, on="representative_id", how="left")
        .with_columns(
            representative_id=pl.coalesce("keeper", "representative_id"), jaccard=pl.coalesce("similarity", "jaccard")
        )
        .select(CLUSTER_COLUMNS)
    )


class _Similarities:
    """Exact similarities of pairs: known from earlier evidence, or verified by reading the two texts."""

    def __init__(
        self, unique: pl.DataFrame, texts_of: TextsOf, params: DedupParams, evidence: pl.DataFrame | None
    ) -> None:
        self._rows, self._texts_of = unique["row"].to_numpy(), texts_of
        self._sums = unique["shingle_sum"].to_numpy()
        self._known = evidence if evidence is not None else pl.DataFrame(schema=EVIDENCE_SCHEMA)
        self._sets = ShingleSets(unique.height, params.minhash.shingle_words)
        self.pairs = np.empty(0, dtype=np.uint64)
        self.jaccard = np.empty(0, dtype=np.float32)
        self.num_verified = 0

    def extend(self, pairs: Pairs) -> None:
        """Add ``pairs``, none of which is here yet."""
        jaccard = self._look_up(pairs)
        jaccard[self._are_equal(pairs)] = 1.0
        unknown = np.flatnonzero(np.isnan(jaccard))
        later, earlier = halves(pairs[unknown])
        self._read(later, earlier)
        jaccard[unknown] = self._sets.jaccard(later, earlier)
        self.num_verified += len(unknown)
        order = np.argsort(merged := np.concatenate([self.pairs, pairs]))
        self.pairs, self.jaccard = merged[order], np.concatenate([self.jaccard, jaccard])[order]

    def _are_equal(self, pairs: Pairs) -> npt.NDArray[np.bool_]:
        """Return which pairs have the same shingles: their 64-bit sums are equal, and no text need be read."""
        later, earlier = halves(pairs)
        return self._sums[later] == self._sums[earlier]

    def _look_up(self, pairs: Pairs) -> Similarity:
        if self._known.is_empty() or not len(pairs):
            return np.full(len(pairs), np.nan, dtype=np.float32)
        found = self._keyed(pairs).join(self._known, on=["later", "earlier"], how="left", maintain_order="left")
        return found["jaccard"].fill_null(float("nan")).to_numpy(writable=True)

    def _keyed(self, pairs: Pairs) -> pl.DataFrame:
        later, earlier = halves(pairs)
        left, right = self._sums[later], self._sums[earlier]
        return pl.DataFrame({"later": np.maximum(left, right), "earlier": np.minimum(left, right)})

    def _read(self, later: Rows, earlier: Rows) -> None:
        is_candidate = np.zeros(len(self._rows), dtype=np.bool_)
        is_candidate[later] = is_candidate[earlier] = True
        wanted = self._sets.missing(np.flatnonzero(is_candidate))
        if len(wanted):
            for positions, texts in self._texts_of(self._rows[wanted].astype(np.int64)):
                self._sets.add(wanted[positions], texts)

    def jaccard_of(self, later: Rows, earlier: Rows) -> Similarity:
        """Return the similarity of pairs that are here."""
        return self.jaccard[np.searchsorted(self.pairs, numbered(later, earlier))]

    def evidence(self) -> pl.DataFrame:
        """Return the similarity of every pair, by what it depends on and not by ids."""
        rows = self._keyed(self.pairs).with_columns(jaccard=pl.Series(self.jaccard))
        return rows.cast(EVIDENCE_SCHEMA).unique(["later", "earlier"]).sort("later", "earlier")  # type: ignore[arg-type]


def _near_duplicates(
    unique: pl.DataFrame, band_keys: BandKeys, similarities: _Similarities, params: DedupParams
) -> pl.DataFrame:
    shingled = np.flatnonzero(unique["num_shingles"].to_numpy() > 0)
    rows = unique["row"].to_numpy().astype(np.int64)[shingled]
    later, earlier = candidate_pairs(rows, band_keys, params.minhash.num_bands, params.max_keys)
    pairs = distinct_pairs(shingled[later], shingled[earlier])
    keeper = np.full(unique.height, -1, dtype=np.int64)
    for _ in range(1 + MAX_ROUNDS):
        if not len(pairs):
            break
        similarities.extend(pairs)
        similar = similarities.jaccard >= params.threshold
        keeper = greedy_keep(unique.height, *halves(similarities.pairs), similar)
        pairs = _pairs_with_keepers(keeper, similarities.pairs, similar)
    removed = np.flatnonzero(keeper != -1)
    known = similarities.jaccard_of(removed, keeper[removed])
    return _clusters(unique["document_id"], removed, keeper[removed], NEAR, known)


def _pairs_with_keepers(keeper: Rows, pairs: Pairs, similar: npt.NDArray[np.bool_]) -> Pairs:
    """Return untested pairs of a kept document and the keeper of a similar document that was removed."""
    later, earlier = halves(pairs[similar])
    chosen = (keeper[later] == -1) & (keeper[earlier] != -1)
    new = distinct_pairs(later[chosen], keeper[earlier[chosen]])
    return new[~np.isin(new, pairs)]
