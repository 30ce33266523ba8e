"""The change of the corpus since the last checkpoint was trained on it."""

from __future__ import annotations

import json

import polars as pl

from codeft_assets.store.data_root import Store
from codeft_assets.store.manifest import Manifest, Shard
from codeft_assets.store.tables import CorruptShardError, Table


def changed_fraction(store: Store) -> float:
    """Return the share of training tokens, 0 to 1, that were added or taken away, whichever is more.

    1 where nothing was trained yet, and where the corpus of the last checkpoint is no longer kept.
    """
    table = store.table("corpus/mixture")
    now = table.manifest()
    result = store.folder("model/checkpoint") / "result.json"
    trained = json.loads(result.read_text())["corpus_content_hash"] if result.is_file() else ""
    if now.content_hash == trained:
        return 0.0
    before = table.snapshot(trained)
    return 1.0 if before is None else _difference(table, before, now)


def _difference(table: Table, before: Manifest, now: Manifest) -> float:
    shared = {shard.content_hash for shard in before.shards} & {shard.content_hash for shard in now.shards}
    new = _weights(table, [shard for shard in now.shards if shard.content_hash not in shared])
    try:
        total = _weights(table, list(before.shards))["weight"].sum()
        old = _weights(table, [shard for shard in before.shards if shard.content_hash not in shared])
    except CorruptShardError:
        return 1.0  # what was trained on can no longer be compared, and no asset makes it again
    merged = old.join(new, on=["document_id", "text"], how="full", coalesce=True, suffix="_new").fill_null(0)
    change = (pl.col("weight_new") - pl.col("weight")).cast(pl.Int64)
    added, removed = merged.select(
        change.clip(lower_bound=0).sum(), (-change).clip(lower_bound=0).sum().alias("r")
    ).row(0)
    return min(max(added, removed) / total, 1.0) if total else 1.0


def _weights(table: Table, shards: list[Shard]) -> pl.DataFrame:
    """Return how many characters of each text are trained on; texts are compared by hash."""
    chars = pl.col("text").str.len_chars().cast(pl.Int64) * pl.col("epochs").cast(pl.Int64)
    parts = [
        table.scan_shard(shard)
        .filter(pl.col("split") == "train")
        .select("document_id", pl.col("text").hash(seed=0), chars.alias("weight"))
        for shard in shards
    ]
    empty = pl.LazyFrame(schema={"document_id": pl.String, "text": pl.UInt64, "weight": pl.Int64})
    return pl.concat([empty, *parts]).collect()
