"""``python -m codeft_assets.catalog``: write ``catalog.duckdb`` of ``CODEFT_HOME`` and print the row counts."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from codeft_assets.base.program_name import program_name
from codeft_assets.store.catalog import ROW_COUNTS_SQL, write_catalog
from codeft_assets.store.data_root import Store

_WIDTHS = (24, 9, 9, 9, 11)
_REASONS_WIDTH = 60


def row_counts_table(counts: Sequence[tuple[Any, ...]]) -> Iterator[str]:
    """Yield the lines of ``ROW_COUNTS_SQL``'s rows, with all reasons, the most frequent first."""
    first, *numbers = (f"{{:{align}{width}}}" for align, width in zip("<>>>>", _WIDTHS, strict=True))
    row = "  ".join([first, *numbers, "{}"])
    blank = row.format(*([""] * len(_WIDTHS)), "")
    yield row.format("source", "in", "kept", "dropped", "unaccounted", "dropped by reason")
    for source, *sums, histogram in counts:
        reasons = sorted((histogram or {}).items(), key=lambda pair: (-pair[1], pair[0]))
        said = ", ".join(f"{reason}\N{NO-BREAK SPACE}{count:,}" for reason, count in reasons)
        head, *more = (line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(said, _REASONS_WIDTH) or [""])
        yield row.format(source, *(f"{number:,}" for number in sums), head).rstrip()
        yield from (blank + line for line in more)


def main(arguments: list[str] | None = None) -> int:
    """Write the catalog of ``CODEFT_HOME`` and print the row counts; return the exit code."""
    text = "Writes catalog.duckdb of CODEFT_HOME and prints what each source has in, kept and dropped."
    name = program_name("python -m codeft_assets.catalog")
    argparse.ArgumentParser(prog=name, description=text).parse_args(arguments)
    store = Store(os.environ.get("CODEFT_HOME") or str(Path(".codeft").absolute()))
    path = write_catalog(store)
    with duckdb.connect(str(path), read_only=True) as connection:
        try:
            counts = connection.sql(ROW_COUNTS_SQL).fetchall()
        except duckdb.CatalogException:
            sys.stderr.write(
                f"error: {path} has no documents or no ledger yet; materialize corpus/ledger first, or go to the "
                f"folder of its project\n"
            )
            return 1
    sys.stdout.write("\n".join([str(path), *row_counts_table(counts), ""]))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end without a word when head has read enough
    sys.exit(main())
