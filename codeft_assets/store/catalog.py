"""``catalog.duckdb``: every table as a view, all documents as one, and all samples of the scores, for queries in SQL.

The file holds no data; of a root on object storage it reads local copies. Each write replaces it as a whole, so that
readers are not disturbed. Its views name files by absolute path, as DuckDB knows no other, and refuse to answer in a
copy, which would read the original's tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from codeft_assets.base.files import replacing_file
from codeft_assets.store.data_root import STEPS, Store
from codeft_assets.store.mirror import cache_folder

ROW_COUNTS_SQL = """
SELECT coalesce(d.source, 'all sources') AS source,
       count(*) AS num_in,
       count(*) FILTER (l.fate = 'kept') AS num_kept,
       count(*) FILTER (l.fate <> 'kept') AS num_dropped,
       count(*) - count(*) FILTER (l.fate = 'kept') - count(*) FILTER (l.fate <> 'kept') AS unaccounted,
       histogram(l.fate) FILTER (l.fate <> 'kept') AS dropped_by_reason
FROM documents d LEFT JOIN corpus_ledger l USING (document_id)
GROUP BY ROLLUP (d.source)
ORDER BY d.source NULLS LAST
"""
"""Rows in, kept and dropped, per source and in total; ``unaccounted`` is 0 in every row."""


def catalog_path(store: Store) -> Path:
    """Return the file of a store's catalog; for a remote store, beside the local copies."""
    return (cache_folder(store.root) if store.is_remote else Path(store.root)) / "catalog.duckdb"


def write_catalog(store: Store) -> Path:
    """Write the views of every committed table and return the file's path."""
    path = catalog_path(store)
    scans, place = _scans(store), _place_check(store, path)
    with replacing_file(path) as temporary:
        temporary.unlink(missing_ok=True)  # a killed process with the same id, as in a container, may have left one
        with duckdb.connect(str(temporary)) as connection:
            for (key, kind), scan in scans.items():
                suffix = "_rejects" if kind == "rejects" else ""
                _create_view(connection, view_name(key) + suffix, f"FROM {scan}", place)
            _create_union_views(connection, scans, place)
            _create_samples_view(connection, store, place)
    return path


def _place_check(store: Store, path: Path) -> str:
    """Return a condition that fails unless the catalog is open where it was written."""
    if store.is_remote:
        return "true"
    places = ", ".join({_quoted(str(path.absolute())), _quoted(str(path.resolve()))})
    moved = _quoted(
        f"this catalog was written as {path.absolute()} and reads the tables there; "
        "for those of a copied or moved data root run: python -m codeft_assets.catalog"
    )
    is_here = f"CASE WHEN bool_or(path IN ({places})) THEN true ELSE error({moved}) END"
    return f"(SELECT {is_here} FROM duckdb_databases())"  # noqa: S608  both parts are quoted


def _create_union_views(
    connection: duckdb.DuckDBPyConnection, scans: Mapping[tuple[str, str], str], place: str
) -> None:
    """Create ``documents`` and ``rejects`` over all sources."""
    for name in ("documents", "rejects"):
        parts = [scan for (key, kind), scan in scans.items() if key.startswith("documents/") and kind == name]
        if parts:
            union = " UNION ALL BY NAME ".join(f"FROM {scan}" for scan in parts)
            _create_view(connection, name, f"FROM ({union})", place)


def view_name(key: str) -> str:
    """Return the view of a table: ``corpus/ledger`` is ``corpus_ledger``."""
    return re.sub(r"[^a-z0-9]+", "_", key.lower())


_SAMPLE_COLUMNS = {
    "task_id": "VARCHAR",
    "sample": "INTEGER",
    "protocol_name": "VARCHAR",
    "prompt": "VARCHAR",
    "completion": "VARCHAR",
    "verdict": "VARCHAR",
    "reason": "VARCHAR",
    "detail": "VARCHAR",
    "stderr": "VARCHAR",
    "tier": "VARCHAR",
    "solution_log_likelihood": "DOUBLE",
    "solution_bytes": "INTEGER",
}
OURS = "ours"
"""Our own model's name in the view ``samples``; a measured reference has its own."""


def _create_samples_view(connection: duckdb.DuckDBPyConnection, store: Store, place: str) -> None:
    """One row is a sample: a benchmark's item, a model's completion, and its verdict."""
    home = cache_folder(store.root) if store.is_remote else Path(store.root).absolute()
    scores = home / "files" / "scores"
    ours = [(path, OURS, path.parts[-2]) for path in sorted(scores.glob("*/samples.jsonl"))]
    measured = scores / "reference_measured"
    theirs = [(path, path.parts[-3], path.parts[-2]) for path in sorted(measured.glob("*/*/samples.jsonl"))]
    chats = [(path.parent / "chat" / path.name, model, benchmark) for path, model, benchmark in ours + theirs]
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _SAMPLE_COLUMNS.items())
    parts = [
        f"FROM read_json({_quoted(str(path))}, format = 'newline_delimited', columns = {{{columns}}}) "
        f"SELECT {_quoted(model)} AS model, {_quoted(benchmark)} AS benchmark, *"
        for path, model, benchmark in [*ours, *theirs, *chats]
        if path.is_file()
    ]
    if parts:
        _create_view(connection, "samples", f"FROM ({' UNION ALL '.join(parts)})", place)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, query: str, place: str) -> None:
    connection.execute(f"CREATE VIEW {name} AS {query} WHERE {place}")


def _scans(store: Store) -> dict[tuple[str, str], str]:
    """Return what reads each table's ``documents``, which are its rows, and its ``rejects``, where it has some."""
    scans = {}
    for table in store.tables():
        if table.key.startswith(STEPS):
            continue
        manifest, folder = table.manifest(), store.local_table(table.key).absolute()
        for kind, shards in (("documents", manifest.shards), ("rejects", manifest.rejects)):
            if shards:
                paths = ", ".join(_quoted(f"{folder}/{shard.path}") for shard in shards)
                scans[table.key, kind] = f"read_parquet([{paths}])"
    return scans
