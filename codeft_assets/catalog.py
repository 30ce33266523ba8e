"""``catalog.duckdb``: every table as a view, and all documents as one, to be asked in SQL.

The file holds no data. It is written anew beside the old one and put in its place, so that readers are not disturbed.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import duckdb

from codeft_assets.manifest import Shard
from codeft_assets.storage import Store, Table

ACCOUNTS_SQL = """
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
"""The accounts per source and in total; ``unaccounted`` is 0 in every row."""


def catalog_path(store: Store) -> Path:
    """Return where the catalog of a store lies; for a remote store, in the working folder."""
    return Path("catalog.duckdb") if "://" in store.root else Path(store.root) / "catalog.duckdb"


def write_catalog(store: Store) -> Path:
    """Write the views of every committed table and return the file's path."""
    path = catalog_path(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.unlink(missing_ok=True)
    tables = store.tables()
    with duckdb.connect(str(temporary)) as connection:
        for table in tables:
            manifest = table.manifest()
            _create_view(connection, view_name(table.key), table, manifest.shards)
            _create_view(connection, f"{view_name(table.key)}_rejects", table, manifest.rejects)
        for name in ("documents", "rejects"):
            parts = [t for t in tables if t.key.startswith("documents/") and _shards(t, name)]
            if parts:
                union = " UNION ALL BY NAME ".join(f"FROM {_scan(t, _shards(t, name))}" for t in parts)
                connection.execute(f"CREATE VIEW {name} AS {union}")
    temporary.replace(path)
    return path


def view_name(key: str) -> str:
    """Return the view of a table: ``corpus/ledger`` is ``corpus_ledger``."""
    return re.sub(r"[^a-z0-9]+", "_", key.lower())


def _shards(table: Table, name: str) -> tuple[Shard, ...]:
    manifest = table.manifest()
    return manifest.rejects if name == "rejects" else manifest.shards


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, table: Table, shards: tuple[Shard, ...]) -> None:
    if shards:
        connection.execute(f"CREATE VIEW {name} AS FROM {_scan(table, shards)}")


def _scan(table: Table, shards: tuple[Shard, ...]) -> str:
    folder = table.url if "://" in table.url else str(Path(table.path()).absolute())
    paths = ", ".join("'" + f"{folder}/{shard.path}".replace("'", "''") + "'" for shard in shards)
    return f"read_parquet([{paths}])"


def main() -> int:
    """Write the catalog of ``CODEFT_HOME`` and print the accounts."""
    store = Store(os.environ.get("CODEFT_HOME") or str(Path(".codeft").absolute()))
    path = write_catalog(store)
    with duckdb.connect(str(path), read_only=True) as connection:
        sys.stdout.write(f"{path}\n{connection.sql(ACCOUNTS_SQL)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
