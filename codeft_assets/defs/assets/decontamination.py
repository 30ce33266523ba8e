"""Benchmark items and the documents that hold them."""

import functools
import json
from collections.abc import Iterator

import dagster as dg
import polars as pl
import pyarrow as pa
import xxhash

from codeft_assets.curation.decontamination.overlaps import add_full_tasks
from codeft_assets.curation.report import StageReport
from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.assets.held_out import BENCHMARK, KEY, held_out, held_out_texts
from codeft_assets.defs.automation.rules import on_documents_change, on_stage_change
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.differences import differences
from codeft_assets.defs.web_ui.plots import stacked_bars
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.decontamination import match_documents, matches_stage
from codeft_assets.stages.texts import read_texts
from codeft_assets.store.engine import ShardResult, Stage, Unit, table_units
from codeft_assets.store.tables import Table
from codeft_eval.benchmarks import catalogue
from codeft_eval.benchmarks.catalogue import all_benchmarks, is_available

TEXT_COLUMNS = {
    "benchmark": "the benchmark",
    "task_id": "the item's id in it",
    "kind": "code, composed (made by a program, as rows of a source are), math or text",
    "field": "prompt, solution, tests or answer",
    "text": "the text that must not be in the corpus",
    "document_id": "the document of ours that the item was made of, where it was: held out whatever its text",
}
MATCH_COLUMNS = {
    **{name: TEXT_COLUMNS[name] for name in ("benchmark", "task_id", "field")},
    "overlap": "share of the item's distinct n-grams found in the document",
    "num_hits": "how many distinct n-grams that is",
    "view": "words: word 5-grams; phrases: word 3-grams of a statement; tokens: 6-grams of code tokens without "
    "comments and layout; shape: 10-grams of code "
    "tokens with identifiers and literals made alike; document: the item was made of this document",
    "span_start": "byte offset in the document where the first hit begins",
    "span_end": "byte offset where the last hit ends",
}


def collect_items(rows: list[dict[str, str]]) -> Iterator[ShardResult]:
    """Yield the items as one shard."""
    yield ShardResult(rows=pa.Table.from_pylist(rows), report=StageReport(num_in=len(rows), num_out=len(rows)))


@dg.asset(
    key=["decontamination", "benchmark_texts"],
    deps=[held_out],
    group_name="decontamination",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version_of(collect_items, catalogue.benchmark_texts),
    automation_condition=on_stage_change(),
)
def benchmark_texts(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is one field of a benchmark's item, which no training document may hold.

    The embedded benchmark and the held-out competition problems are always there; HumanEval, MBPP, MultiPL-E, GSM8K and
    MATH join when their files are in CODEFT_BENCHMARKS, yours when CODEFT_OWN_BENCHMARKS names them, and tasks of
    lm-eval when CODEFT_LM_EVAL_TASKS names them and their data is there. All rows of a file are held out, also those
    that its benchmark does not score.
    """
    present = [name for name, entry in all_benchmarks().items() if is_available(entry) and name != BENCHMARK]
    texts = {name: [{**row, "document_id": ""} for row in catalogue.benchmark_texts(name)] for name in present}
    texts[BENCHMARK] = held_out_texts(workspace.store.table(KEY).read().to_dicts())
    rows = [row for found in texts.values() for row in found]
    fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(rows, sort_keys=True))
    units = [Unit(name="items", fingerprint=fingerprint, args=(rows,))]
    stage = Stage(name="decontamination/benchmark_texts", code_version=code_version_of(collect_items))
    table, run = run_stage(context, workspace, collect_items, units, stage)
    counts = table.read().group_by("benchmark", "field").len().sort("benchmark", "field")
    return result(
        table,
        run,
        {
            "benchmarks": ", ".join(texts),
            "items": md.markdown_table(("benchmark", "field", "texts"), counts.iter_rows()),
            "dagster/column_schema": md.column_schema(table, TEXT_COLUMNS),
        },
    )


@dg.asset(
    key=["decontamination", "matches"],
    deps=[*document_keys(), benchmark_texts],
    group_name="decontamination",
    kinds={"parquet", "numba"},
    owners=OWNERS,
    code_version=matches_stage().code_version,
    automation_condition=on_documents_change(),
)
def matches(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a document that holds a benchmark item: which item, how much of it, and where.

    Items are found by words and by the shape of their code, so renamed variables, new comments and another layout do
    not hide a leak. N-grams that many items share count for nothing; number tables match nothing.
    """
    texts = workspace.store.table("decontamination/benchmark_texts")
    version = texts.manifest().content_hash
    units = [
        Unit(name=unit.name, fingerprint=f"{unit.fingerprint} {version}", args=unit.args)
        for unit in table_units(document_tables(workspace), texts)
    ]
    table, run = run_stage(context, workspace, match_documents, units, matches_stage())
    return result(table, run, _metadata(table, document_tables(workspace), texts))


_ORDER = [pl.col("overlap").neg(), pl.col("num_hits").cast(pl.Int64).neg(), "document_id"]


def _strongest(table: Table) -> Iterator[pl.DataFrame]:
    """Yield the strongest match of each document, a shard at a time: a shard has all matches of its documents."""
    for shard in table.manifest().shards:
        source = pl.lit(shard.unit.split("/")[1]).alias("source")  # documents/<source>/…
        matched = table.scan_shard(shard).sort("overlap", descending=True, maintain_order=True).collect()
        strongest = matched.unique("document_id", keep="first", maintain_order=True)
        yield strongest.with_columns(source).sort(_ORDER)


def _metadata(table: Table, tables: list[Table], items_table: Table) -> dict[str, object]:
    counts = sum_by(
        (part.select("source", "benchmark", documents=1) for part in _strongest(table)), "source", "benchmark"
    )
    rows: dict[str, dict[str, float]] = {}
    for name, benchmark, count in counts.sort("source").iter_rows():
        rows.setdefault(name, {})[benchmark] = count
    strongest = functools.reduce(lambda best, part: pl.concat([best, part]).sort(_ORDER).head(20), _strongest(table))
    listed = strongest.select("source", "task_id", "overlap", "view", "field", "num_hits", "benchmark")
    return {
        "num_documents": int(counts["documents"].sum()),
        "by_source": stacked_bars(rows, title="documents with a benchmark item", unit="documents"),
        "strongest": md.markdown_table(listed.columns, listed.iter_rows()),
        "preview": _spans(strongest.head(3), tables, items_table),
        "dagster/column_schema": md.column_schema(table, MATCH_COLUMNS),
    }


def _spans(matches_shown: pl.DataFrame, tables: list[Table], items_table: Table) -> dg.MarkdownMetadataValue:
    """Return contaminated spans, with what differs from the item that it holds."""
    if matches_shown.is_empty():
        return dg.MetadataValue.md("no document holds a benchmark item")
    item = add_full_tasks(items_table.read()).unique(["benchmark", "task_id", "field"])
    keys = ["benchmark", "task_id", "field"]
    shown = matches_shown.join(item.select(*keys, "text"), on=keys, how="left", maintain_order="left")
    texts = read_texts(tables, shown["document_id"].to_list())
    parts = []
    for row, text in zip(shown.iter_rows(named=True), texts, strict=True):
        span = text.encode()[row["span_start"] : row["span_end"]].decode(errors="replace")
        header = (f"{row['benchmark']} {row['task_id']}, {row['field']}", f"{row['source']}, {row['document_id'][:8]}")
        title = f"**overlap {row['overlap']:.2f} of {row['view']}**, bytes {row['span_start']} to {row['span_end']}"
        parts.append(f"{title}\n\n{differences(row['text'], span, header)}")
    return dg.MetadataValue.md("\n\n".join(parts))
