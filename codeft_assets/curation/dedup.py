"""Exact and near duplicates, without chains: a document goes only if it is verified similar to one that is kept.

Invariant: for every removed document the kept representative's exact Jaccard similarity is at least the threshold (1.0
for exact duplicates), and the result does not depend on the order or grouping of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.minhash import MinHashParams, jaccard
from codeft_assets.curation.minhash_kernel import greedy_keep
from codeft_assets.curation.report import StageReport

TextsOf = Callable[[list[str]], pa.Array]
"""Returns the texts of documents by id, in order: only candidates are ever asked for."""

EXACT, NEAR = "exact_duplicate", "near_duplicate"
MAX_ROUNDS = 6
"""A document whose neighbor was removed is tested against the neighbor's keeper; chains longer than this stay kept."""

CLUSTER_SCHEMA = {
    "document_id": pl.String,
    "representative_id": pl.String,
    "kind": pl.String,
    "jaccard": pl.Float32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupParams:
    """When two documents are the same."""

    minhash: MinHashParams = field(default_factory=MinHashParams)
    threshold: float = 0.7
    """Smallest Jaccard similarity of word 5-shingles at which a document goes."""
    batch_documents: int = 100_000
    """Candidate texts in memory at a time."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} must lie in (0, 1]; 0.7 is what peers use")


def deduplicate(documents: pl.DataFrame, texts_of: TextsOf, params: DedupParams) -> tuple[pl.DataFrame, StageReport]:
    """Return one row per removed document with its kept representative.

    Args:
        documents: ``document_id``, ``content_hash``, ``priority`` (the source's; lower stays), ``educational_value``,
            ``num_chars``, ``num_shingles`` and the band keys. Duplicates are kept in this order: lower priority number,
            higher educational value, longer text, smaller id.
        texts_of: Gives the texts of candidates.
        params: Similarity threshold and signature parameters.
    """
    ranked = documents.sort(
        ["priority", "educational_value", "num_chars", "document_id"], descending=[False, True, True, False]
    )
    exact = _exact_duplicates(ranked)
    unique = ranked.join(exact.select("document_id"), on="document_id", how="anti", maintain_order="left")
    near = _near_duplicates(unique, texts_of, params)
    clusters = pl.concat([_follow(exact, near), near]).sort("document_id")
    report = StageReport(
        num_in=documents.height,
        num_out=documents.height - clusters.height,
        dropped={kind: part.height for kind, part in ((EXACT, exact), (NEAR, near)) if part.height},
    )
    return clusters, report


def _exact_duplicates(ranked: pl.DataFrame) -> pl.DataFrame:
    first = pl.col("document_id").first().over("content_hash")
    found = ranked.select("document_id", first.alias("representative_id")).filter(
        pl.col("document_id") != pl.col("representative_id")
    )
    return found.with_columns(kind=pl.lit(EXACT), jaccard=pl.lit(1.0)).cast(CLUSTER_SCHEMA)  # type: ignore[arg-type]


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
        .select(list(CLUSTER_SCHEMA))
    )


def candidate_pairs(unique: pl.DataFrame, bands: list[str]) -> npt.NDArray[np.int64]:
    """Return the ``[n, 2]`` pairs ``(later, earlier)`` of row numbers that share a band key.

    In each bucket a row is paired with the bucket's first row and with the row before it: linear in the bucket's size,
    so that a band shared by 10^5 documents costs 2 x 10^5 pairs and not 5 x 10^9.
    """
    rows = unique.select("num_shingles", *bands).with_row_index("row").filter(pl.col("num_shingles") > 0)
    found = []
    for band in bands:  # one band in memory at a time
        buckets = rows.select(pl.col("row").cast(pl.Int64), key=band).filter(pl.len().over("key") > 1)
        pairs = buckets.sort("key", "row").with_columns(
            first=pl.col("row").min().over("key"), previous=pl.col("row").shift(1).over("key")
        )
        for other in ("first", "previous"):
            pair = pairs.filter(pl.col(other) < pl.col("row"))
            found.append(pair.select("row", other=other))
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    return pl.concat(found).unique().sort("row", "other").to_numpy()


def _near_duplicates(unique: pl.DataFrame, texts_of: TextsOf, params: DedupParams) -> pl.DataFrame:
    ids = unique["document_id"]
    pairs = candidate_pairs(unique, params.minhash.band_columns())
    similarity = _verify(pairs, ids, texts_of, params)
    keeper = _keepers(len(ids), pairs, similarity, params)
    for _ in range(MAX_ROUNDS):
        further = _pairs_with_keepers(keeper, pairs, similarity, params)
        if not len(further):
            break
        pairs = np.concatenate([pairs, further])
        similarity = np.concatenate([similarity, _verify(further, ids, texts_of, params)])
        keeper = _keepers(len(ids), pairs, similarity, params)
    return _clusters(keeper, pairs, similarity, ids)


def _verify(
    pairs: npt.NDArray[np.int64], ids: pl.Series, texts_of: TextsOf, params: DedupParams
) -> npt.NDArray[np.float32]:
    """Return the exact similarity of each pair, reading the candidates' texts component by component."""
    similarity = np.zeros(len(pairs), dtype=np.float32)
    for chosen in _batches(pairs, params.batch_documents):
        rows, local = np.unique(pairs[chosen], return_inverse=True)
        local = local.reshape(-1, 2)
        texts = texts_of(ids.gather(rows).to_list())
        similarity[chosen] = jaccard(texts, local[:, 0].copy(), local[:, 1].copy(), params.minhash)
    return similarity


def _batches(pairs: npt.NDArray[np.int64], batch_documents: int) -> list[npt.NDArray[np.int64]]:
    """Return pair numbers in groups whose documents fit in memory; pairs of one component stay together."""
    if not len(pairs):
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, local = np.unique(pairs, return_inverse=True)
    local = local.reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (local[:, 0], local[:, 1])), shape=(len(rows), len(rows)))
    component = connected_components(graph, directed=False)[1][local[:, 0]]
    order = np.argsort(component, kind="stable")
    # a pair brings at most two documents
    cuts = np.arange(0, len(order), max(batch_documents // 2, 1))[1:]
    return np.split(order, cuts)


def _keepers(
    num_documents: int, pairs: npt.NDArray[np.int64], similarity: npt.NDArray[np.float32], params: DedupParams
) -> npt.NDArray[np.int64]:
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    similar = similarity >= params.threshold
    return greedy_keep(num_documents, pairs[order, 0], pairs[order, 1], similar[order])


def _pairs_with_keepers(
    keeper: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],
    similarity: npt.NDArray[np.float32],
    params: DedupParams,
) -> npt.NDArray[np.int64]:
    """Return untested pairs of a kept document and the keeper of a similar document that was removed."""
    later, earlier = pairs[:, 0], pairs[:, 1]
    chosen = (similarity >= params.threshold) & (keeper[later] == -1) & (keeper[earlier] != -1)
    later, earlier = later[chosen], keeper[earlier[chosen]]
    new = np.stack([np.maximum(later, earlier), np.minimum(later, earlier)], axis=1)
    new = np.unique(new[new[:, 0] != new[:, 1]], axis=0)
    if not len(new):
        return new
    code = np.int64(len(keeper))
    known = np.isin(new[:, 0] * code + new[:, 1], pairs[:, 0] * code + pairs[:, 1])
    return new[~known]


def _clusters(
    keeper: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64], similarity: npt.NDArray[np.float32], ids: pl.Series
) -> pl.DataFrame:
    removed = np.flatnonzero(keeper != -1)
    of_pair = pl.DataFrame({"row": pairs[:, 0], "other": pairs[:, 1], "jaccard": similarity})
    found = pl.DataFrame({"row": removed, "other": keeper[removed]}).join(of_pair, on=["row", "other"], how="left")
    return pl.DataFrame(
        {
            "document_id": ids.gather(found["row"]),
            "representative_id": ids.gather(found["other"]),
            "kind": pl.Series([NEAR] * found.height, dtype=pl.String),
            "jaccard": found["jaccard"],
        },
        schema=CLUSTER_SCHEMA,
    )
