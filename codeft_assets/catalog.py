"""``python -m codeft_assets.catalog``: write ``catalog.duckdb`` of ``CODEFT_HOME`` and print the row counts."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import duckdb

from codeft_assets.base.program_name import program_name
from codeft_assets.store.catalog import ROW_COUNTS_SQL, write_catalog
from codeft_assets.store.data_root import Store


def main(arguments: list[str] | None = None) -> int:
    """Write the catalog of ``CODEFT_HOME`` and print the row counts; return the exit code."""
    text = "Writes catalog.duckdb of CODEFT_HOME and prints what each source has in, kept and dropped."
    name = program_name("python -m codeft_assets.catalog")
    argparse.ArgumentParser(prog=name, description=text).parse_args(arguments)
    store = Store(os.environ.get("CODEFT_HOME") or str(Path(".codeft").absolute()))
    path = write_catalog(store)
    with duckdb.connect(str(path), read_only=True) as connection:
        try:
            sys.stdout.write(f"{path}\n{connection.sql(ROW_COUNTS_SQL)}\n")
        except duckdb.CatalogException:
            sys.stderr.write(f"error: {path} has no documents or no ledger yet; materialize corpus/ledger first\n")
            return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end without a word when head has read enough
    sys.exit(main())
