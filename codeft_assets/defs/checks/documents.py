"""Asset checks: promises re-measured on what was stored. A failed blocking check stops everything below."""

import json
import math
import os
import subprocess
import sys

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from codeft_assets.curation.corpus import redact as secrets
from codeft_assets.curation.corpus.mixture import TRAIN, VALIDATION
from codeft_assets.curation.decontamination import overlaps as decontaminate
from codeft_assets.curation.dedup import minhash
from codeft_assets.curation.dedup.candidates import candidate_pairs
from codeft_assets.curation.dedup.minhash import MinHashParams
from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.curation.documents import DOCUMENT_SCHEMA
from codeft_assets.defs.assets.corpus import fates, mixture
from codeft_assets.defs.assets.held_out import SOURCE, benchmark_environment
from codeft_assets.defs.assets.model import checkpoint
from codeft_assets.defs.assets.scores import PRESENT, score_key
from codeft_assets.defs.checks.quality import keeps_enough_of_every_source, ranks_held_out_labels
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.source import Source
from codeft_assets.sources import SOURCES
from codeft_assets.store.catalog import ACCOUNTS_SQL, catalog_path, write_catalog
from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.held_out_problems import to_problem

_CHECKED_DOCUMENTS = 4000
# Twice the bands of half the rows, other seeds: finds what the signatures of dedup/signatures may have missed.
_SECOND_LOOK = MinHashParams(num_bands=28, rows_per_band=4, seed=7)
_SURELY_DUPLICATE = 0.9


def build_documents_check(source: Source) -> dg.AssetChecksDefinition:
    """Return the check that a documents table has the right columns and complete accounts."""

    @dg.asset_check(
        asset=dg.AssetKey(["documents", source.name]),
        name="accounts_balance",
        blocking=True,
        description="The table has a document's columns, rows, unique ids, and rows in = documents + rejects.",
    )
    def accounts_balance(workspace: Workspace) -> dg.AssetCheckResult:
        table = workspace.store.table(f"documents/{source.name}")
        manifest = table.manifest()
        found = table.scan().collect_schema().names()
        num_ids = table.scan().select(pl.col("document_id").n_unique()).collect().item()
        num_rejects = sum(shard.num_rows for shard in manifest.rejects)
        balanced = manifest.report.num_in == manifest.num_rows + num_rejects
        passed = found == DOCUMENT_SCHEMA.names and 0 < num_ids == manifest.num_rows and balanced
        counts = {"rows_in": manifest.report.num_in, "documents": manifest.num_rows, "rejects": num_rejects}
        return dg.AssetCheckResult(passed=passed, metadata={**counts, "num_unique_ids": num_ids})

    return accounts_balance


@dg.asset_check(asset=fates, blocking=True, description="Kept + dropped by reason = documents in, for every source.")
def every_document_has_one_fate(workspace: Workspace) -> dg.AssetCheckResult:
    """Ask the catalog for the accounts."""
    write_catalog(workspace.store)
    with duckdb.connect(str(catalog_path(workspace.store)), read_only=True) as connection:
        rows = connection.sql(ACCOUNTS_SQL).pl()
    passed = bool((rows["unaccounted"] == 0).all()) and rows.height == len(SOURCES) + 1
    shown = rows.select("source", "num_in", "num_kept", "num_dropped", "unaccounted")
    return dg.AssetCheckResult(
        passed=passed, metadata={"accounts": md.markdown_table(shown.columns, shown.iter_rows())}
    )


def _mixture_texts(workspace: Workspace) -> pl.DataFrame:
    frame = workspace.store.table("corpus/mixture").scan().select("document_id", "text").collect()
    return frame.sample(min(_CHECKED_DOCUMENTS, frame.height), seed=3, shuffle=True)


def _second_look(text: pa.Array) -> tuple[Rows, Rows]:
    signed = minhash.compute_signatures(text, _SECOND_LOOK)
    shingled = (signed["num_shingles"] > 0).arg_true().to_numpy().astype(np.int64)
    bands = _SECOND_LOOK.band_columns()
    later, earlier = candidate_pairs(shingled, lambda band: signed[bands[band]].to_numpy(), len(bands))
    return shingled[later], shingled[earlier]


@dg.asset_check(
    asset=mixture,
    blocking=True,
    description=f"No two documents of a sample have a Jaccard similarity of {_SURELY_DUPLICATE} or more.",
)
def no_duplicates(workspace: Workspace) -> dg.AssetCheckResult:
    """Look for duplicates again, with other and more sensitive signatures."""
    rows = _mixture_texts(workspace)
    text = rows["text"].to_arrow().cast(pa.large_string())
    later, earlier = _second_look(text)
    similarity = minhash.jaccard(text, later, earlier, _SECOND_LOOK)
    num_found = int((similarity >= _SURELY_DUPLICATE).sum())
    metadata = {"num_checked": rows.height, "num_candidate_pairs": len(later), "num_duplicate_pairs": num_found}
    return dg.AssetCheckResult(passed=num_found == 0, metadata=metadata)


@dg.asset_check(
    asset=mixture,
    blocking=True,
    description=f"No held-out document has a Jaccard similarity of {_SURELY_DUPLICATE} or more to a training document.",
)
def validation_is_held_out(workspace: Workspace) -> dg.AssetCheckResult:
    """Look for near duplicates across the split again, with other and more sensitive signatures."""
    frame = workspace.store.table("corpus/mixture").scan().select("document_id", "text", "split").collect()
    by_split = [frame.filter(pl.col("split") == split) for split in (VALIDATION, TRAIN)]
    halves = [part.sample(min(_CHECKED_DOCUMENTS, part.height), seed=3, shuffle=True) for part in by_split]
    rows = pl.concat(halves)
    held_out = (rows["split"] == VALIDATION).to_numpy()
    text = rows["text"].to_arrow().cast(pa.large_string())
    later, earlier = _second_look(text)
    crossing = held_out[later] != held_out[earlier]
    similarity = minhash.jaccard(text, later[crossing], earlier[crossing], _SECOND_LOOK)
    num_found = int((similarity >= _SURELY_DUPLICATE).sum())
    checked = {"num_held_out": halves[0].height, "num_training": halves[1].height, "num_pairs": int(crossing.sum())}
    return dg.AssetCheckResult(passed=num_found == 0, metadata={**checked, "num_duplicate_pairs": num_found})


@dg.asset_check(asset=mixture, blocking=True, description="The corpus holds what was planned, as often as was planned.")
def obeys_the_plan(workspace: Workspace) -> dg.AssetCheckResult:
    """Compare split and epochs of every document with corpus/mixture_plan."""
    columns = ["document_id", "split", "epochs", "annealing_epochs"]
    planned = workspace.store.table("corpus/mixture_plan").read(columns).drop_nulls("split").sort("document_id")
    found = workspace.store.table("corpus/mixture").read(columns).sort("document_id")
    metadata = {"num_planned": planned.height, "num_found": found.height}
    return dg.AssetCheckResult(passed=planned.equals(found), metadata=metadata)


@dg.asset_check(asset=mixture, blocking=True, description="No document of the corpus holds a benchmark item.")
def no_benchmark_items(workspace: Workspace) -> dg.AssetCheckResult:
    """Compare what will be trained on with every benchmark item again."""
    index = decontaminate.build_index(workspace.store.table("decontamination/benchmark_texts").read())
    rows = _mixture_texts(workspace)
    found = decontaminate.find_overlaps(rows["document_id"], rows["text"].to_arrow().cast(pa.large_string()), index)
    metadata = {"num_checked": rows.height, "num_matches": found.height}
    return dg.AssetCheckResult(passed=found.is_empty(), metadata=metadata)


@dg.asset_check(asset=mixture, blocking=True, description="No problem that the rule holds out is in the corpus.")
def no_held_out_problem(workspace: Workspace) -> dg.AssetCheckResult:
    """Ask the rule itself about every problem, whatever the stages before said."""
    rows = workspace.store.table("corpus/mixture").scan().filter(pl.col("source") == SOURCE)
    problems = [to_problem(row) for row in rows.select("messages", "text").collect().iter_rows(named=True)]
    num_found = sum(problem.is_held_out for problem in problems)
    return dg.AssetCheckResult(passed=num_found == 0, metadata={"num_checked": len(problems), "num_found": num_found})


@dg.asset_check(asset=mixture, blocking=True, description="No key, mail address or IP address is left in the corpus.")
def no_secrets(workspace: Workspace) -> dg.AssetCheckResult:
    """Run every detector again over text and turns."""
    rows = workspace.store.table("corpus/mixture").scan().select("text", "messages").collect()
    turns = (
        rows["messages"].drop_nulls().explode().struct.field("content")
        if rows["messages"].null_count() < rows.height
        else rows["text"].head(0)
    )
    found = secrets.count_secrets(rows["text"]) | secrets.count_secrets(turns)
    metadata = {"num_checked": rows.height, "num_found": sum(found.values())}
    return dg.AssetCheckResult(passed=not found, metadata=metadata)


@dg.asset_check(asset=checkpoint, blocking=True, description="Every loss is a number, and the last is below the first.")
def loss_falls(workspace: Workspace) -> dg.AssetCheckResult:
    """Read the run's metrics."""
    path = workspace.store.folder("model/checkpoint") / "metrics.jsonl"
    losses = [entry["loss"] for line in path.read_text().splitlines() if "loss" in (entry := json.loads(line))]
    passed = len(losses) > 1 and all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]
    return dg.AssetCheckResult(passed=passed, metadata={"first_loss": losses[0], "final_loss": losses[-1]})


def build_harness_check(benchmark: Benchmark) -> dg.AssetChecksDefinition:
    """Return the check that the harness itself tells right from wrong."""

    @dg.asset_check(
        asset=score_key(benchmark),
        name="harness_is_sane",
        blocking=True,
        description="Canonical solutions pass and empty completions fail, in the sandbox that judged the model.",
    )
    def harness_is_sane(workspace: Workspace) -> dg.AssetCheckResult:
        output = workspace.store.folder(f"scores/{benchmark.name}") / "check"
        command = [sys.executable, "-m", "codeft_eval", "check", "--benchmark", benchmark.name, "--output", str(output)]
        surroundings = os.environ | benchmark_environment(workspace)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)
        said = (done.stdout + done.stderr)[-2000:]
        return dg.AssetCheckResult(passed=done.returncode == 0, metadata={"said": dg.MetadataValue.md(md.fenced(said))})

    return harness_is_sane


CHECKS = [
    *(build_documents_check(source) for source in SOURCES.values()),
    ranks_held_out_labels,
    keeps_enough_of_every_source,
    every_document_has_one_fate,
    no_duplicates,
    validation_is_held_out,
    obeys_the_plan,
    no_benchmark_items,
    no_held_out_problem,
    no_secrets,
    loss_falls,
    *(build_harness_check(benchmark) for benchmark in PRESENT),
]
