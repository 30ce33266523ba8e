"""``python -m codeft_assets.catalog``: write ``catalog.duckdb`` of ``CODEFT_HOME`` and print the row counts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb

from codeft_assets.store.catalog import ROW_COUNTS_SQL, write_catalog
from codeft_assets.store.tables import Store


def main() -> int:
    """Write the catalog of ``CODEFT_HOME`` and print the row counts."""
    store = Store(os.environ.get("CODEFT_HOME") or str(Path(".codeft").absolute()))
    path = write_catalog(store)
    with duckdb.connect(str(path), read_only=True) as connection:
        sys.stdout.write(f"{path}\n{connection.sql(ROW_COUNTS_SQL)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
