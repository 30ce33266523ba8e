"""Checks of the corpus: every document is counted once, and no duplicate, benchmark item or secret got through."""

import itertools
import tempfile

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa

from codeft_assets.curation.corpus.mixture import TRAIN, VALIDATION
from codeft_assets.curation.corpus.redact import count_secrets
from codeft_assets.curation.decontamination import overlaps
from codeft_assets.curation.dedup import minhash
from codeft_assets.curation.dedup.candidates import candidate_pairs
from codeft_assets.curation.dedup.minhash import MinHashParams
from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.curation.dedup.shingle_sets import jaccard
from codeft_assets.defs.assets.corpus import ledger, mixture
from codeft_assets.defs.assets.held_out import SOURCE
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.store.bounded import bounded_connection, sample_rows
from codeft_assets.store.catalog import ROW_COUNTS_SQL, catalog_path, write_catalog
from codeft_eval.benchmarks.held_out_problems import to_problem

_CHECKED_DOCUMENTS = 4000
_MORE_SENSITIVE = MinHashParams(num_bands=28, rows_per_band=4, seed=7)
"""Twice the bands of half the rows, other seeds: finds pairs that dedup/signatures may have missed."""
_SURELY_DUPLICATE = 0.9


@dg.asset_check(asset=ledger, blocking=True, description="Kept + dropped by reason = documents in, for every source.")
def every_document_has_one_fate(workspace: Workspace) -> dg.AssetCheckResult:
    """Query the catalog for the row counts."""
    write_catalog(workspace.store)
    path = str(catalog_path(workspace.store))
    with tempfile.TemporaryDirectory() as folder, bounded_connection(path, folder) as connection:
        rows = connection.sql(ROW_COUNTS_SQL).pl()
    passed = bool((rows["unaccounted"] == 0).all()) and rows.height == len(SOURCES) + 1
    shown = rows.select("source", "num_in", "num_kept", "num_dropped", "unaccounted")
    return dg.AssetCheckResult(
        passed=passed, metadata={"accounts": md.markdown_table(shown.columns, shown.iter_rows())}
    )


def _mixture_texts(workspace: Workspace) -> pl.DataFrame:
    return _sample(workspace, ["document_id", "language", "text"])


def _sample(workspace: Workspace, columns: list[str], where: pl.Expr | None = None) -> pl.DataFrame:
    return sample_rows(workspace.store.table("corpus/mixture"), columns, _CHECKED_DOCUMENTS, seed=3, where=where)


def _candidates(text: pa.Array) -> tuple[Rows, Rows]:
    signed = minhash.compute_signatures(text, _MORE_SENSITIVE)
    shingled = (signed["num_shingles"] > 0).arg_true().to_numpy().astype(np.int64)
    bands = _MORE_SENSITIVE.band_columns()
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
    later, earlier = _candidates(text)
    similarity = jaccard(text, rows["language"], later, earlier, _MORE_SENSITIVE.shingle_words)
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
    columns = ["language", "text", "split"]
    halves = [_sample(workspace, columns, pl.col("split") == split) for split in (VALIDATION, TRAIN)]
    rows = pl.concat(halves)
    is_validation = (rows["split"] == VALIDATION).to_numpy()
    text = rows["text"].to_arrow().cast(pa.large_string())
    later, earlier = _candidates(text)
    crossing = is_validation[later] != is_validation[earlier]
    pairs = later[crossing], earlier[crossing]
    similarity = jaccard(text, rows["language"], *pairs, _MORE_SENSITIVE.shingle_words)
    num_found = int((similarity >= _SURELY_DUPLICATE).sum())
    checked = {"num_held_out": halves[0].height, "num_training": halves[1].height, "num_pairs": int(crossing.sum())}
    return dg.AssetCheckResult(passed=num_found == 0, metadata={**checked, "num_duplicate_pairs": num_found})


@dg.asset_check(asset=mixture, blocking=True, description="The corpus holds what was planned, as often as was planned.")
def obeys_the_plan(workspace: Workspace) -> dg.AssetCheckResult:
    """Compare split and epochs of every document with corpus/mixture_plan, which has a shard for each of the corpus."""
    columns = ["document_id", "split", "epochs", "annealing_epochs"]
    tables = [workspace.store.table(key) for key in ("corpus/mixture_plan", "corpus/mixture")]
    num_planned, num_found, num_equal = 0, 0, 0
    for parts in itertools.zip_longest(*(table.read_parts(columns) for table in tables), fillvalue=pl.DataFrame()):
        planned, found = (part.drop_nulls("split").sort("document_id") if part.width else part for part in parts)
        num_planned, num_found = num_planned + planned.height, num_found + found.height
        num_equal += planned.height if planned.equals(found) else 0
    metadata = {"num_planned": num_planned, "num_found": num_found}
    return dg.AssetCheckResult(passed=num_equal == num_planned == num_found, metadata=metadata)


@dg.asset_check(asset=mixture, blocking=True, description="No document of the corpus holds a benchmark item.")
def no_benchmark_items(workspace: Workspace) -> dg.AssetCheckResult:
    """Compare a sample of the corpus with every benchmark item again."""
    index = overlaps.build_index(workspace.store.table("decontamination/benchmark_texts").read())
    rows = _mixture_texts(workspace)
    found = overlaps.find_overlaps(rows["document_id"], rows["text"].to_arrow().cast(pa.large_string()), index)
    metadata = {"num_checked": rows.height, "num_matches": found.height}
    return dg.AssetCheckResult(passed=found.is_empty(), metadata=metadata)


@dg.asset_check(asset=mixture, blocking=True, description="No problem that the rule holds out is in the corpus.")
def no_held_out_problem(workspace: Workspace) -> dg.AssetCheckResult:
    """Apply the rule itself to every problem, independent of the stages before."""
    num_checked, num_found = 0, 0
    for part in workspace.store.table("corpus/mixture").read_parts(["messages", "text"], pl.col("source") == SOURCE):
        problems = [to_problem(row) for row in part.iter_rows(named=True)]
        num_checked, num_found = num_checked + len(problems), num_found + sum(p.is_held_out for p in problems)
    return dg.AssetCheckResult(passed=num_found == 0, metadata={"num_checked": num_checked, "num_found": num_found})


@dg.asset_check(asset=mixture, blocking=True, description="No key, mail address or IP address is left in the corpus.")
def no_secrets(workspace: Workspace) -> dg.AssetCheckResult:
    """Run every detector again over text and turns."""
    num_checked, num_found = 0, 0
    for rows in workspace.store.table("corpus/mixture").read_parts(["text", "messages"]):
        turns = (
            rows["messages"].drop_nulls().explode().struct.field("content")
            if rows["messages"].null_count() < rows.height
            else rows["text"].head(0)
        )
        num_found += sum(sum(count_secrets(texts).values()) for texts in (rows["text"], turns))
        num_checked += rows.height
    return dg.AssetCheckResult(passed=not num_found, metadata={"num_checked": num_checked, "num_found": num_found})
