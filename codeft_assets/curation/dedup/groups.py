"""Groups of near duplicates: documents that must not be split between training and validation.

Deduplication removes only documents that it verified to be similar to one that stays. Documents that stay may still be
similar to one another: below its threshold, or at the two ends of a chain whose middle was removed. So a group is wider
than a cluster: all documents that are connected by shared signature bands or by a removal, however long the chain.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from codeft_assets.curation.dedup.candidates import candidate_pairs


def group_near_duplicates(signatures: pl.DataFrame, clusters: pl.DataFrame, bands: list[str]) -> pl.DataFrame:
    """Return ``document_id`` and ``group_id``, the smallest document id it is connected to, of every signed document.

    Args:
        signatures: ``document_id``, ``num_shingles`` and the band keys, of kept and of removed documents: a removed one
            may be the link between two that stay.
        clusters: ``document_id`` and ``representative_id`` of the documents that deduplication removed.
        bands: Names of the band key columns.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ordered = signatures.sort("document_id").with_row_index("row")
    rows = ordered.select("document_id", pl.col("row").cast(pl.Int64))
    removed = (
        clusters.select("document_id", "representative_id")
        .join(rows, on="document_id")
        .join(rows.rename({"document_id": "representative_id", "row": "other"}), on="representative_id")
        .select("row", "other")
    )
    shingled = ordered["row"].filter(ordered["num_shingles"] > 0).to_numpy().astype(np.int64)
    later, earlier = candidate_pairs(shingled, lambda band: ordered[bands[band]].to_numpy(), len(bands))
    shared = pl.DataFrame({"row": shingled[later], "other": shingled[earlier]})
    pairs = pl.concat([shared, removed])
    links = coo_array(
        (pl.ones(pairs.height, eager=True).to_numpy(), (pairs["row"].to_numpy(), pairs["other"].to_numpy())),
        shape=(ordered.height, ordered.height),
    )
    component = connected_components(links, directed=False)[1]
    return rows.with_columns(component=pl.Series(component, dtype=pl.Int64)).select(
        "document_id", group_id=pl.col("document_id").first().over("component")
    )
