"""Groups of near duplicates: documents that must not be split between training and validation.

Deduplication removes only documents that it verified to be similar to one that stays. Documents that stay may still be
similar to one another: below its threshold, or at the two ends of a chain whose middle was removed. So a group is wider
than a cluster: a component, all documents that are connected by shared signature bands, however long the chain.
"""

from __future__ import annotations

import polars as pl


def group_near_duplicates(linked: pl.DataFrame) -> pl.DataFrame:
    """Return linked documents with ``group_id``, the smallest document id of their component.

    Args:
        linked: ``document_id`` and ``component`` of kept and of removed documents: a removed one may be the link
            between two that stay.
    """
    return linked.with_columns(group_id=pl.col("document_id").min().over("component"))
