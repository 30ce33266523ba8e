"""The competition problems that are never trained on, and where the programs that score them find them."""

import json
import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import xxhash

from codeft_assets.curation.report import StageReport
from codeft_assets.defs.automation.rules import on_documents_change
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_eval.benchmarks import held_out_problems
from codeft_eval.benchmarks.catalogue import BENCHMARKS, row_texts
from codeft_eval.benchmarks.datafiles import FOLDER_VARIABLE

SOURCE = "comp-math"
BENCHMARK = "competition_math"
HAS_SOURCE = SOURCE in SOURCES
KEY = "decontamination/held_out"
COLUMNS = {
    "task_id": "source and hash of the problem",
    "problem": "what the model is shown",
    "solution": "scored in bits per byte; empty where the source has none",
    "answer": "what an answer is compared with; empty for proofs and where the solution names none",
    "document_ids": "every document that holds the problem: none is in the corpus",
}
_SCHEMA = pa.schema(
    [(name, pa.list_(pa.string()) if name == "document_ids" else pa.large_string()) for name in COLUMNS]
)


def collect_rows(rows: list[dict[str, Any]], num_documents: int) -> Iterator[ShardResult]:
    """Yield the held-out problems as one shard."""
    num_held_out = sum(len(row["document_ids"]) for row in rows)
    dropped = {"held_out": num_held_out} if num_held_out else {}
    report = StageReport(num_in=num_documents, num_out=num_documents - num_held_out, dropped=dropped)
    yield ShardResult(rows=pa.Table.from_pylist(rows, schema=_SCHEMA), report=report)


@dg.asset(
    key=KEY.split("/"),
    deps=[key for key in document_keys() if key.path[-1] == SOURCE],
    group_name="decontamination",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version_of(collect_rows, held_out_problems.held_out_rows),
    automation_condition=on_documents_change(),
)
def held_out(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a competition problem that no model is trained on: scored, and measured while a model trains.

    A hash of the problem decides, one in ten: a problem that comes again is held out again, wherever it stands. What
    is held out is a benchmark item like any other, so copies in other sources are found and dropped too.
    """
    tables = [table for table in document_tables(workspace) if table.key == f"documents/{SOURCE}"]
    documents = [row for table in tables for row in table.read(["document_id", "messages", "text"]).to_dicts()]
    rows = held_out_problems.held_out_rows(documents)
    stage = Stage(name=KEY, code_version=code_version_of(collect_rows), parameters={"rule": held_out_problems.RULE})
    fingerprint = xxhash.xxh3_128_hexdigest(json.dumps([len(documents), rows], sort_keys=True))
    units = [Unit(name=SOURCE, fingerprint=fingerprint, args=(rows, len(documents)))]
    table, run = run_stage(context, workspace, collect_rows, units, stage)
    metadata = {
        "rule": held_out_problems.RULE,
        "num_with_solution": sum(bool(row["solution"]) for row in rows),
        "num_with_answer": sum(bool(row["answer"]) for row in rows),
        "preview": md.markdown_table(
            ("problem", "answer"), ((row["problem"][:300], row["answer"] or "none") for row in rows[:5])
        ),
        "dagster/column_schema": md.column_schema(table, COLUMNS),
    }
    return result(table, run, metadata)


def held_out_texts(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the problems' texts as benchmark items; each prompt once for every document that holds it."""
    documents = {row["task_id"]: row["document_ids"] for row in rows}
    return [
        {**text, "document_id": document_id}
        for text in row_texts(BENCHMARKS[BENCHMARK], rows)
        for document_id in (documents[text["task_id"]] if text["field"] == "prompt" else ("",))
    ]


def benchmark_environment(workspace: Workspace) -> dict[str, str]:
    """Return the search path of codeft_eval's benchmarks: the held-out problems, written as a file, then the user's."""
    folder = workspace.store.folder(KEY)
    table = workspace.store.table(KEY)
    if table.exists():
        held_out_problems.write_held_out(table.read().to_dicts(), folder)
    folders = [str(folder), os.environ.get(FOLDER_VARIABLE, "")]
    return {FOLDER_VARIABLE: os.pathsep.join(filter(None, folders))}
