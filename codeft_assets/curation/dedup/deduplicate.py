"""Exact and near duplicates, without chains: a document goes only if it is verified similar to one that is kept.

Two documents in different programming languages are no duplicates, nor are two programs that differ in operators or, in
Python, in indentation (``shingle_sets``).

Invariant: for every removed document the kept representative's exact Jaccard similarity is at least the threshold (1.0
for exact duplicates, whose bytes are the same), and the result does not depend on the order or grouping of the input,
nor on the similarities that an earlier run cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.dedup.candidates import MAX_KEYS, BandKeys, candidate_pairs
from codeft_assets.curation.dedup.minhash import MinHashParams
from codeft_assets.curation.dedup.pairs import Pairs, Rows, distinct_pairs, pack_pairs, unpack_pairs
from codeft_assets.curation.dedup.shingle_sets import PROSE_LANGUAGE, ShingleSets, are_comparable, structure_styles
from codeft_assets.curation.kernels.buckets import bucket_pairs, choose_representatives
from codeft_assets.curation.kernels.structure import PROSE
from codeft_assets.curation.report import StageReport

Similarity = npt.NDArray[np.float32]

ReadTexts = Callable[[Rows], Iterator[tuple[Rows, pa.Array]]]
"""Yields the texts of documents by row in batches: positions among the rows, and their texts. Only candidates are read,
each of them once."""

EXACT, NEAR = "exact_duplicate", "near_duplicate"
MAX_ROUNDS = 6
"""A document whose neighbor was removed is tested against the neighbor's representative; longer chains stay kept."""

CLUSTER_COLUMNS = ("document_id", "representative_id", "kind", "jaccard")
SIMILARITY_SCHEMA = {"later": pl.UInt64, "earlier": pl.UInt64, "jaccard": pl.Float32}
"""Cached similarities, by the larger (``later``) and the smaller hash of content and language of the two documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupParams:
    """When two documents are the same."""

    minhash: MinHashParams = field(default_factory=MinHashParams)
    threshold: float = 0.7
    """Smallest Jaccard similarity of word 5-shingles at which a document goes."""
    code_threshold: float = 0.8
    """The same of two programs: pre- and postorder in 100 words share 0.7 to 0.8 of them."""
    max_keys: int = MAX_KEYS
    """Band keys that a process holds at a time; with ``max_documents`` it bounds memory, and changes no result."""

    @property
    def max_documents(self) -> int:
        """Documents that a process holds at a time: one takes about as much memory as 32 keys."""
        return max(self.max_keys // 32, 1)

    def __post_init__(self) -> None:
        if not 0 < min(self.threshold, self.code_threshold) <= max(self.threshold, self.code_threshold) <= 1:
            thresholds = f"threshold {self.threshold} and code_threshold {self.code_threshold}"
            raise ValueError(f"{thresholds} must lie in (0, 1]; 0.7 and 0.8 are usual")
        if self.max_keys < 1:
            raise ValueError(f"max_keys {self.max_keys} must be at least 1; {1 << 24} take about 700 MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """The result of deduplication."""

    clusters: pl.DataFrame
    """One row per removed document, ``CLUSTER_COLUMNS``, by id; ids have the type they came with."""
    similarities: pl.DataFrame
    """The similarity of every candidate pair, by ``SIMILARITY_SCHEMA``: the cache for the next run."""
    num_pairs: int
    num_verified: int
    """Pairs whose texts had to be read; the others were cached."""
    report: StageReport


def deduplicate(
    documents: pl.DataFrame,
    band_keys: BandKeys,
    read_texts: ReadTexts,
    params: DedupParams,
    cached: pl.DataFrame | None = None,
) -> Duplicates:
    """Find the documents to remove, each with the kept document it is similar to.

    Args:
        documents: ``document_id`` and ``content_hash`` of any type that sorts, ``language``, ``priority`` (the
            source's; lower stays), ``educational_value``, ``num_chars``, ``num_shingles``, ``shingle_sum``. Duplicates
            are kept in this order: lower priority number, higher educational value, longer text, smaller id.
        band_keys: Keys of one band for all ``documents``, in their order.
        read_texts: Yields the texts of candidates.
        params: Similarity threshold and signature parameters.
        cached: ``similarities`` that an earlier run returned, of these or other documents.

    Raises:
        ValueError: there are 2^32 documents or more.
    """
    if documents.height >= 1 << 32:
        raise ValueError(f"{documents.height} documents: pairs are numbered in 32 bits; deduplicate in parts")
    ranked = _rank_documents(documents)
    first = _first_of_equal_hashes(ranked["content_hash"])
    is_copy = first != np.arange(ranked.height)
    same = np.ones(is_copy.sum(), dtype=np.float32)
    exact = _build_clusters(ranked["document_id"], np.flatnonzero(is_copy), first[is_copy], EXACT, same)
    unique = ranked.drop("content_hash").filter(pl.Series(~is_copy))
    similarities = _Similarities(unique, read_texts, params, cached)
    near = _near_duplicates(unique, band_keys, similarities, params)
    clusters = pl.concat([_repoint_exact(exact, near), near]).sort("document_id")
    return Duplicates(
        clusters=clusters,
        similarities=similarities.by_content(),
        num_pairs=len(similarities.pairs),
        num_verified=similarities.num_verified,
        report=_count_dropped(documents.height, {EXACT: exact.height, NEAR: near.height}),
    )


def _count_dropped(num_documents: int, dropped: dict[str, int]) -> StageReport:
    found = {kind: count for kind, count in dropped.items() if count}
    return StageReport(num_in=num_documents, num_out=num_documents - sum(found.values()), dropped=found)


def _rank_documents(documents: pl.DataFrame) -> pl.DataFrame:
    """Return ``documents`` with their row numbers, sorted so that of two duplicates the first stays."""
    return (
        documents.lazy()
        .with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        .sort(["priority", "educational_value", "num_chars", "document_id"], descending=[False, True, True, False])
        .with_columns(content=pl.struct("content_hash", "language").hash(seed=1))
        .select("row", "document_id", "content_hash", "content", "language", "num_shingles", "shingle_sum")
        .collect()
    )


def _first_of_equal_hashes(hashes: pl.Series) -> Rows:
    """Return for each row the first row of the same hash, itself if there is none; few rows are grouped at all."""
    rows, is_shared = np.arange(len(hashes)), np.zeros(len(hashes), dtype=np.bool_)
    for shared in unpack_pairs(bucket_pairs(hashes.hash(seed=1).to_numpy(), 0, 0)):
        is_shared[shared] = True
    of_shared = pl.DataFrame({"row": np.flatnonzero(is_shared), "hash": hashes.filter(pl.Series(is_shared))})
    rows[is_shared] = of_shared.select(pl.col("row").first().over("hash"))["row"].to_numpy()
    return rows


def _build_clusters(
    ids: pl.Series, removed: Rows, representative: Rows, kind: str, jaccard: Similarity
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "document_id": ids.gather(removed),
            "representative_id": ids.gather(representative),
            "kind": pl.Series([kind], dtype=pl.String).new_from_index(0, len(removed)),
            "jaccard": jaccard,
        }
    )


def _repoint_exact(exact: pl.DataFrame, near: pl.DataFrame) -> pl.DataFrame:
    """Point exact duplicates of a document that was removed as a near duplicate to that document's representative."""
    moved = near.select(
        pl.col("document_id").alias("representative_id"), moved_to="representative_id", similarity="jaccard"
    )
    return (
        exact.join(moved, on="representative_id", how="left")
        .with_columns(
            representative_id=pl.coalesce("moved_to", "representative_id"), jaccard=pl.coalesce("similarity", "jaccard")
        )
        .select(CLUSTER_COLUMNS)
    )


class _Similarities:
    """Exact similarities of pairs: cached by an earlier run, or computed from the two texts."""

    def __init__(
        self, unique: pl.DataFrame, read_texts: ReadTexts, params: DedupParams, cached: pl.DataFrame | None
    ) -> None:
        self._rows, self._read_texts = unique["row"].to_numpy(), read_texts
        self._sums, self._content = unique["shingle_sum"].to_numpy(), unique["content"].to_numpy()
        self._styles = structure_styles(unique["language"])
        self._cached = cached if cached is not None else pl.DataFrame(schema=SIMILARITY_SCHEMA)
        self._sets = ShingleSets(self._styles, params.minhash.shingle_words)
        self.pairs = np.empty(0, dtype=np.uint64)
        self.jaccard = np.empty(0, dtype=np.float32)
        self.num_verified = 0

    def extend(self, pairs: Pairs) -> None:
        """Add ``pairs``, none of which was added before."""
        jaccard = self._look_up_cached(pairs)
        jaccard[self._are_equal(pairs)] = 1.0
        unknown = np.flatnonzero(np.isnan(jaccard))
        later, earlier = unpack_pairs(pairs[unknown])
        self._read(later, earlier)
        jaccard[unknown] = self._sets.jaccard(later, earlier)
        self.num_verified += len(unknown)
        order = np.argsort(merged := np.concatenate([self.pairs, pairs]))
        self.pairs, self.jaccard = merged[order], np.concatenate([self.jaccard, jaccard])[order]

    def _are_equal(self, pairs: Pairs) -> npt.NDArray[np.bool_]:
        """Return which pairs of prose have the same shingles: their 64-bit sums are equal, and no text need be read."""
        later, earlier = unpack_pairs(pairs)
        is_prose = np.minimum(self._styles[later], self._styles[earlier]) == PROSE
        return is_prose & (self._sums[later] == self._sums[earlier])

    def _look_up_cached(self, pairs: Pairs) -> Similarity:
        if self._cached.is_empty() or not len(pairs):
            return np.full(len(pairs), np.nan, dtype=np.float32)
        found = self._keyed(pairs).join(self._cached, on=["later", "earlier"], how="left", maintain_order="left")
        return found["jaccard"].fill_null(float("nan")).to_numpy(writable=True)

    def _keyed(self, pairs: Pairs) -> pl.DataFrame:
        later, earlier = unpack_pairs(pairs)
        left, right = self._content[later], self._content[earlier]
        return pl.DataFrame({"later": np.maximum(left, right), "earlier": np.minimum(left, right)})

    def _read(self, later: Rows, earlier: Rows) -> None:
        is_candidate = np.zeros(len(self._rows), dtype=np.bool_)
        is_candidate[later] = is_candidate[earlier] = True
        wanted = self._sets.missing(np.flatnonzero(is_candidate))
        if len(wanted):
            for positions, texts in self._read_texts(self._rows[wanted].astype(np.int64)):
                self._sets.add(wanted[positions], texts)

    def look_up(self, later: Rows, earlier: Rows) -> Similarity:
        """Return the similarity of pairs that were added."""
        return self.jaccard[np.searchsorted(self.pairs, pack_pairs(later, earlier))]

    def by_content(self) -> pl.DataFrame:
        """Return the similarity of every pair by the contents it depends on: it holds whatever the ids are."""
        rows = self._keyed(self.pairs).with_columns(jaccard=pl.Series(self.jaccard))
        return rows.cast(SIMILARITY_SCHEMA).unique(["later", "earlier"]).sort("later", "earlier")  # type: ignore[arg-type]


def _near_duplicates(
    unique: pl.DataFrame, band_keys: BandKeys, similarities: _Similarities, params: DedupParams
) -> pl.DataFrame:
    shingled = np.flatnonzero(unique["num_shingles"].to_numpy() > 0)
    rows = unique["row"].to_numpy().astype(np.int64)[shingled]
    languages = _Languages(unique["language"], params)
    later, earlier = candidate_pairs(
        rows, band_keys, params.minhash.num_bands, params.max_keys, languages.salt(shingled)
    )
    pairs = languages.comparable(distinct_pairs(shingled[later], shingled[earlier]))
    representative = np.full(unique.height, -1, dtype=np.int64)
    for _ in range(1 + MAX_ROUNDS):
        if not len(pairs):
            break
        similarities.extend(pairs)
        similar = similarities.jaccard >= languages.thresholds(similarities.pairs)
        representative = choose_representatives(unique.height, *unpack_pairs(similarities.pairs), similar)
        pairs = languages.comparable(_pairs_with_representatives(representative, similarities.pairs, similar))
    removed = np.flatnonzero(representative != -1)
    known = similarities.look_up(removed, representative[removed])
    return _build_clusters(unique["document_id"], removed, representative[removed], NEAR, known)


class _Languages:
    """Which documents may be duplicates at all, and how similar they have to be."""

    def __init__(self, language: pl.Series, params: DedupParams) -> None:
        self._hash = language.hash(seed=1).to_numpy()
        self._is_code = (language != PROSE_LANGUAGE).to_numpy()
        self._params = params

    def salt(self, rows: Rows) -> npt.NDArray[np.uint64] | None:
        """Return the language of each of ``rows`` as a number; None if all have the same."""
        salt = self._hash[rows]
        return salt if len(salt) and (salt != salt[0]).any() else None

    def comparable(self, pairs: Pairs) -> Pairs:
        """Return the pairs that are not in two programming languages."""
        return pairs[are_comparable(self._hash, self._is_code, *unpack_pairs(pairs))]

    def thresholds(self, pairs: Pairs) -> Similarity:
        """Return the smallest similarity of a duplicate for each pair."""
        later, earlier = unpack_pairs(pairs)
        both_code = self._is_code[later] & self._is_code[earlier]
        return np.where(both_code, self._params.code_threshold, self._params.threshold).astype(np.float32)


def _pairs_with_representatives(representative: Rows, pairs: Pairs, similar: npt.NDArray[np.bool_]) -> Pairs:
    """Return untested pairs of a kept document and the representative of a similar document that was removed."""
    later, earlier = unpack_pairs(pairs[similar])
    chosen = (representative[later] == -1) & (representative[earlier] != -1)
    new = distinct_pairs(later[chosen], representative[earlier[chosen]])
    return new[~np.isin(new, pairs)]
