"""The change of the corpus since the last checkpoint was trained on it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa

from codeft_assets.store.bounded import bounded_connection, register
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


_CHANGED_SQL = """
SELECT coalesce(sum(greatest(change, 0)), 0), coalesce(sum(greatest(-change, 0)), 0)
FROM (
    SELECT coalesce(new.weight, 0) - coalesce(old.weight, 0) AS change
    FROM old FULL JOIN new USING (document_id, text)
)
"""
_SCHEMA = pa.schema({"document_id": pa.large_string(), "text": pa.uint64(), "weight": pa.int64()})


def _difference(table: Table, before: Manifest, now: Manifest) -> float:
    shared = {shard.content_hash for shard in before.shards} & {shard.content_hash for shard in now.shards}
    try:
        total = sum(int(part["weight"].sum()) for part in _weights(table, before.shards, set()))
    except CorruptShardError:
        return 1.0  # what was trained on can no longer be compared, and no asset makes it again
    with tempfile.TemporaryDirectory() as folder, bounded_connection(":memory:", folder) as connection:
        for name, manifest in (("old", before), ("new", now)):
            register(connection, name, _weights(table, manifest.shards, shared), _SCHEMA)
        ((added, removed),) = connection.sql(_CHANGED_SQL).fetchall()
    return min(max(int(added), int(removed)) / total, 1.0) if total else 1.0


def _weights(table: Table, shards: Iterable[Shard], unchanged: set[str]) -> Iterator[pl.DataFrame]:
    """Yield how many characters of each text are trained on, a shard at a time; texts are compared by hash."""
    chars = pl.col("text").str.len_chars().cast(pl.Int64) * pl.col("epochs").cast(pl.Int64)
    for shard in shards:
        if shard.content_hash not in unchanged:
            rows = table.scan_shard(shard).filter(pl.col("split") == "train")
            yield rows.select("document_id", pl.col("text").hash(seed=0), chars.alias("weight")).collect()
