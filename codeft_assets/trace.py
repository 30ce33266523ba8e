"""``python -m codeft_assets.trace ID | documents/SOURCE[/FILE] | --sequence N``: from upstream to packed row."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from codeft_assets.base.arguments import near_name
from codeft_assets.base.program_name import program_name
from codeft_assets.store.data_root import Store
from codeft_assets.store.tables import MissingTableError, Table

_SHOWN_CHARS = 400
_STAGES = (
    ("quality/scores", ("educational_value", "minimum_educational_value", "drop_reason", "drop_detail")),
    ("decontamination/matches", ("benchmark", "task_id", "field", "overlap", "span_start", "span_end")),
    ("dedup/clusters", ("representative_id", "kind", "jaccard")),
    ("corpus/ledger", ("fate", "stage", "detail", "split", "epochs")),
)


def trace_document(store: Store, document_id: str) -> Iterator[str]:
    """Yield the lines of one document's story.

    Raises:
        ValueError: no source has such a document or such a reject.
    """
    rejects = _find(store, document_id, rejects=True)
    for reject in rejects:
        yield from _rejected(reject)
    if rejects and not _find(store, document_id):
        return
    document = _find_document(store, document_id)
    yield f"document {document_id}"
    for name in ("source", "revision", "source_row", "domain", "format", "language", "license", "num_chars"):
        yield f"  {name}: {document[name]}"
    yield f"  text: {document['text'][:_SHOWN_CHARS]!r}"
    for key, columns in _STAGES:
        yield key
        rows = _rows(store, key, document_id)
        yield from (f"  {name}: {row[name]}" for row in rows for name in columns if row[name] is not None)
        if not rows:
            yield "  nothing found"
    yield "corpus/packed"
    yield from _positions(store, document_id)


def trace_row(store: Store, key: str) -> Iterator[str]:
    """Yield the stories of the documents and rejects of ``documents/SOURCE/FILE-OR-ROW``.

    Raises:
        ValueError: there is no such source, or no such row of it.
    """
    name, source, source_row = key.split("/", 2)
    table = _source_table(store, f"{name}/{source}")
    found = [table.scan(), *([table.scan(rejects=True)] if table.manifest().rejects else [])]
    is_wanted = pl.col("source_row") == source_row
    ids = [row for each in found for row in each.filter(is_wanted).select("document_id").collect()["document_id"]]
    if not ids:
        raise ValueError(f"{name}/{source} has no file or row {source_row!r}; names are those of source_row")
    for document_id in ids:
        yield from trace_document(store, document_id)


def _source_table(store: Store, key: str) -> Table:
    tables = {table.key: table for table in store.tables() if table.key.startswith("documents/")}
    if key not in tables:
        made = ", ".join(sorted(tables)) or "no source is read yet"
        raise ValueError(
            f"{key!r} is no table of a source, which lists its files{near_name(key, tables)}; those are: {made}"
        )
    return tables[key]


def trace_source(store: Store, key: str) -> Iterator[str]:
    """Yield what of one source is not in the corpus: reason, file and row, detail, and the id of what was a document.

    Rows that became no document come first, then the documents that a later stage dropped.

    Raises:
        ValueError: there is no such table.
    """
    table = _source_table(store, key)
    if table.manifest().rejects:
        for row in table.scan(rejects=True).sort("reason", "source_row").collect().iter_rows(named=True):
            yield f"{row['reason']}  {row['source_row']}  {row['detail']}"
    report = table.manifest().report
    counts = f"{report.num_in} rows, {report.num_out} documents"
    try:
        outcomes = store.table("corpus/ledger").scan().filter(pl.col("source") == key.removeprefix("documents/"))
    except MissingTableError:
        yield f"{counts}; what later stages drop of them is in corpus/ledger, which is not made yet"
        return
    is_kept = pl.col("fate") == "kept"
    for row in outcomes.filter(~is_kept).sort("fate", "source_row").collect().iter_rows(named=True):
        yield f"{row['fate']}  {row['source_row']}  {row['detail'] or ''}  {row['document_id']}"
    num_kept = outcomes.select(is_kept.sum()).collect().item()
    yield f"{counts}, {num_kept} in the corpus; files never read, such as empty ones, are counted on the page of {key}"


def trace_sequence(store: Store, row: int) -> Iterator[str]:
    """Yield which documents the packed training row ``row`` holds.

    Raises:
        ValueError: there is no such row.
    """
    index = _packed_index(store, "train")
    pieces = index.filter(pl.col("row") == row).sort("start").collect()
    if pieces.is_empty():
        last = index.select(pl.col("row").max()).collect().item()
        raise ValueError(f"corpus/packed has no training row {row}; choose one of 0 to {last}")
    yield f"packed training row {row}"
    for piece in pieces.iter_rows(named=True):
        document = _find_document(store, piece["document_id"])
        yield (
            f"  tokens {piece['start']}..{piece['start'] + piece['length']}: document {piece['document_id']} "
            f"from token {piece['document_start']}: {document['source']} {document['source_row']} "
            f"at {document['revision']}"
        )


def _rejected(reject: dict[str, Any]) -> Iterator[str]:
    yield f"rejected row {reject['document_id']}"
    for name in ("source", "revision", "source_row", "reason", "detail"):
        yield f"  {name}: {reject[name]}"
    yield f"  row: {reject['row'][:_SHOWN_CHARS]!r}"


def _find_document(store: Store, document_id: str) -> dict[str, Any]:
    if found := _find(store, document_id):
        return found[0]
    raise ValueError(f"no documents/* table has a document {document_id!r}; ids are 32 hex digits, see catalog.duckdb")


def _find(store: Store, document_id: str, *, rejects: bool = False) -> list[dict[str, Any]]:
    for table in store.tables():
        if table.key.startswith("documents/") and (table.manifest().rejects or not rejects):
            found = table.scan(rejects=rejects).filter(pl.col("document_id") == document_id).collect()
            if found.height:
                return found.to_dicts()
    return []


def _rows(store: Store, key: str, document_id: str) -> list[dict[str, Any]]:
    try:
        return store.table(key).scan().filter(pl.col("document_id") == document_id).collect().to_dicts()
    except MissingTableError:
        return []


def _packed_index(store: Store, split: str) -> pl.LazyFrame:
    path = store.folder("corpus/packed") / "rows" / f"{split}.index.parquet"
    if not path.is_file():
        raise ValueError(f"{path} does not exist; materialize corpus/packed first")
    return pl.scan_parquet(path)


def _positions(store: Store, document_id: str) -> Iterator[str]:
    num_found = 0
    for split in ("train", "validation"):
        try:
            index = _packed_index(store, split)
        except ValueError:
            continue
        pieces = index.filter(pl.col("document_id") == document_id).sort("row", "start").collect()
        for piece in pieces.iter_rows(named=True):
            num_found += 1
            yield f"  {split} row {piece['row']}: tokens {piece['start']}..{piece['start'] + piece['length']}"
    if not num_found:
        yield "  in no packed row"


def main(arguments: list[str] | None = None) -> int:
    """Print a trace and return the exit code."""
    text = "Prints a document's way from upstream to packed row."
    parser = argparse.ArgumentParser(prog=program_name("python -m codeft_assets.trace"), description=text)
    target = parser.add_mutually_exclusive_group(required=True)
    help_of_id = (
        "32 hex digits, as in every table; documents/SOURCE: what of it is not in the corpus; documents/SOURCE/FILE: "
        "one file or row of it"
    )
    target.add_argument("document_id", nargs="?", help=help_of_id)
    target.add_argument("--sequence", type=int, help="number of a packed training row")
    options = parser.parse_args(arguments)
    store = Store(os.environ.get("CODEFT_HOME") or str(Path(".codeft").absolute()))
    try:
        sequence = options.sequence
        of_id = (trace_document, trace_source, trace_row)[min((options.document_id or "").count("/"), 2)]
        lines = of_id(store, options.document_id) if sequence is None else trace_sequence(store, sequence)
        for line in lines:
            print(line)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end without a word when head has read enough
    sys.exit(main())
