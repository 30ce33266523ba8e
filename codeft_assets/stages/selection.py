"""Selection on shards: the tests that documents state, their overlaps with benchmark items, then the choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.corpus.ledger import documents_passing
from codeft_assets.curation.decontamination.leak_index import is_counted, item_overlaps, leak_index
from codeft_assets.curation.decontamination.overlaps import COMPOSED, add_full_tasks
from codeft_assets.curation.quality.embedding import fit_embedding
from codeft_assets.curation.report import StageReport
from codeft_assets.curation.selection.select import (
    SELECTION_SCHEMA,
    SelectionParams,
    complexity,
    select_documents,
)
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.own_tests import LIMITS, run_own_tests
from codeft_assets.stages.texts import TextsByPlace, all_documents, text_column
from codeft_assets.store.engine import ShardResult, Stage
from codeft_assets.store.manifest import Shard
from codeft_assets.store.tables import Table
from codeft_eval.sandbox.pool import Sandbox

SELECTED_FORMAT = "instruct"
NUM_DIMENSIONS = 128
"""More than the classifier's: tasks on the same values must be kept apart."""
MAX_FITTED = 20_000
"""Documents that the embedding is fitted on, those of the smallest ids."""
MINIMUM_OVERLAP = 0.2
"""Of a document that is not the nearest of its shard: below it nothing is decided."""
LEAK_SCHEMA = {
    "source": pl.String,
    "document_id": pl.String,
    "benchmark": pl.String,
    "task_id": pl.String,
    "overlap": pl.Float64,
}
TEST_SCHEMA = {"document_id": pl.String, "num_tests": pl.UInt32, "quality": pl.Float64}
_SIGNALS = ["document_id", "num_words", "unique_word_fraction", "keyword_fraction"]


def own_tests_stage() -> Stage:
    """Identify the run of the tests that documents state."""
    return Stage(name="selection/own_tests", code_version=code_version_of(measure_own_tests))


def measure_own_tests(table: Table, shard: Shard) -> Iterator[ShardResult]:
    """Run the tests that the instruct documents of a shard state; others have none."""
    rows = table.read_shard(shard, ["document_id", "format", "text"])
    chosen = pl.DataFrame(rows).filter(pl.col("format") == SELECTED_FORMAT)
    with Sandbox(limits=LIMITS) as sandbox:
        found = run_own_tests(chosen["text"].to_list(), sandbox)
    columns = {"num_tests": [own.num_tests for own in found], "quality": [own.share for own in found]}
    tested = chosen.select("document_id").with_columns(
        pl.Series(name, values, dtype=TEST_SCHEMA[name]) for name, values in columns.items()
    )
    num_other = rows.num_rows - tested.height
    dropped = {"other_format": num_other} if num_other else {}
    report = StageReport(num_in=rows.num_rows, num_out=tested.height, dropped=dropped)
    yield ShardResult(rows=tested.to_arrow(), report=report)


def leaks_stage() -> Stage:
    """Identify the overlaps with benchmark items; the hash of the items is part of each unit."""
    return Stage(name="selection/leaks", code_version=code_version_of(find_leaks))


def find_leaks(table: Table, shard: Shard, benchmark_texts: Table) -> Iterator[ShardResult]:
    """Find of each benchmark item the documents of a shard that hold a good part of it, and the one that holds most."""
    items = leak_items(benchmark_texts.read())
    rows = table.read_shard(shard, ["document_id", "source", "text"])
    found = item_overlaps(text_column(rows), items["text"].to_arrow().cast(pa.large_string()))
    ranked = found.sort("overlap", "document", descending=[True, False])
    best = ranked.unique("item", keep="first", maintain_order=True)
    found = pl.concat([found.filter(pl.col("overlap") >= MINIMUM_OVERLAP), best]).unique()
    documents = pl.DataFrame(rows.drop_columns(["text"])).with_row_index("document").cast({"document": pl.Int64})
    named = found.join(documents, on="document").join(
        items.with_row_index("item").cast({"item": pl.Int64}).drop("text"), on="item"
    )
    leaks = named.select(list(LEAK_SCHEMA)).cast(LEAK_SCHEMA).sort(list(LEAK_SCHEMA))  # type: ignore[arg-type]
    yield ShardResult(rows=leaks.to_arrow(), report=StageReport(num_in=rows.num_rows, num_out=rows.num_rows))


def leak_items(benchmark_texts: pl.DataFrame) -> pl.DataFrame:
    """Return ``benchmark``, ``task_id`` and ``text`` of each item: code with its solution, of others the prompt.

    Items that were made of documents of ours are held out by their ids; their source would leak all of them.
    """
    foreign = benchmark_texts.filter(pl.col("document_id") == "")
    full = add_full_tasks(foreign.unique(["benchmark", "task_id", "field"], keep="first", maintain_order=True))
    is_item = (pl.col("field") == "full") | (~pl.col("kind").is_in(("code", COMPOSED)) & (pl.col("field") == "prompt"))
    return full.filter(is_item).select("benchmark", "task_id", "text")


def leak_indices(leaks: pl.DataFrame, benchmark_texts: pl.DataFrame) -> pl.DataFrame:
    """Return ``source``, ``benchmark`` and ``index``, of every pair that shares an n-gram."""
    items = leak_items(benchmark_texts)
    counted = items.filter(is_counted(items["text"].to_arrow().cast(pa.large_string())))
    num_items = dict(counted.group_by("benchmark").len().iter_rows())
    rows = [
        (source, benchmark, leak_index(part.rename({"task_id": "item"}), num_items.get(str(benchmark), 0)))
        for (source, benchmark), part in leaks.group_by("source", "benchmark")
    ]
    schema = {"source": pl.String, "benchmark": pl.String, "index": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort(
        "index", "source", "benchmark", descending=[True, False, False]
    )


def selection_stage(params: SelectionParams) -> Stage:
    """Identify the choice; its inputs' hashes are part of the unit."""
    return Stage(
        name="selection/instructions", code_version=code_version_of(select_instructions), parameters=asdict(params)
    )


def select_instructions(
    tables: list[Table], inputs: Mapping[str, Table], params: SelectionParams
) -> Iterator[ShardResult]:
    """Select among the instruct documents that passed every stage.

    Args:
        tables: The documents.
        inputs: The tables ``scores``, ``matches``, ``clusters``, ``signals``, ``own_tests`` and ``leaks``.
        params: The bounds.
    """
    listed = all_documents(tables, ["document_id", "source", "format"]).with_row_index("place")
    chosen = listed.filter(pl.col("format") == SELECTED_FORMAT)
    scores = inputs["scores"].read(["document_id", "drop_reason", "educational_value"])
    passing = documents_passing(chosen, scores, inputs["matches"].read(["document_id"]))
    passing = passing.join(inputs["clusters"].read(["document_id"]), on="document_id", how="anti")
    measured = passing.join(inputs["signals"].read(_SIGNALS), on="document_id", how="left", maintain_order="left")
    leaks = inputs["leaks"].read(["document_id", "overlap"]).group_by("document_id").agg(leak=pl.col("overlap").max())
    documents = (
        measured.with_columns(complexity(measured))
        .join(inputs["own_tests"].read(), on="document_id", how="left", maintain_order="left")
        .join(leaks, on="document_id", how="left", maintain_order="left")
        .with_columns(pl.col("leak").fill_null(0.0), pl.col("num_tests").fill_null(0))
    )
    rows, report = select_documents(documents, _vectors(tables, documents), params)
    assert rows.schema == pl.Schema(SELECTION_SCHEMA), "one row a document, by the schema"
    yield ShardResult(rows=rows.to_arrow(), report=report)


def _vectors(tables: list[Table], documents: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Return a unit vector a document, of an embedding that is fitted on these documents, or on many of them."""
    texts = TextsByPlace(tables)
    fitted = documents.sort("document_id").head(MAX_FITTED)["place"].to_numpy()
    parts = [text for _, text in texts.batches(np.sort(fitted))]
    if not parts:
        return np.zeros((0, 1), dtype=np.float32)
    sample = pa.concat_arrays(parts)
    embedding = fit_embedding(sample, seed=1, num_dimensions=min(NUM_DIMENSIONS, len(sample)))
    vectors = np.empty((documents.height, len(embedding.names)), dtype=np.float32)
    for rows, text in texts.batches(documents["place"].to_numpy()):
        vectors[rows] = embedding.vectors(text)
    return vectors
