"""Selection of instruct documents, run when it is asked for: their own tests, leaks of every source, the choice."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.curation.selection.select import SelectionParams
from codeft_assets.defs.assets.decontamination import benchmark_texts, matches
from codeft_assets.defs.assets.dedup import clusters
from codeft_assets.defs.assets.quality import scores, signals
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage
from codeft_assets.defs.settings import Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.selection import (
    find_leaks,
    leak_indices,
    leaks_stage,
    measure_own_tests,
    own_tests_stage,
    select_instructions,
    selection_stage,
)
from codeft_assets.store.engine import Unit, table_units, whole_unit

GROUP = "selection"
DEFAULT = SelectionParams()
MAXIMUM_INDEX = 0.05
"""XCoder calls a set above 0.3 leaked (arXiv 2409.03810); 4,535 answers of a public instruct set are at 0.01."""
INPUTS = {
    "scores": "quality/scores",
    "signals": "quality/signals",
    "matches": "decontamination/matches",
    "clusters": "dedup/clusters",
    "own_tests": "selection/own_tests",
    "leaks": "selection/leaks",
}


@dg.asset(
    key=["selection", "own_tests"],
    deps=document_keys(),
    group_name=GROUP,
    kinds={"parquet", "python"},
    owners=OWNERS,
    code_version=own_tests_stage().code_version,
)
def own_tests(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is an instruct document with the tests that it states itself, and the share of them that pass.

    Doctests and asserts of its Python run in the sandbox. A document without tests, or with a library that is not here,
    has no quality: nothing is said about it.
    """
    units = table_units(document_tables(workspace))
    table, run = run_stage(context, workspace, measure_own_tests, units, own_tests_stage())
    frame = table.read(["num_tests", "quality"])
    return result(
        table,
        run,
        {
            "num_with_tests": int((frame["num_tests"] > 0).sum()),
            "num_tested": frame["quality"].len() - frame["quality"].null_count(),
            "num_failing": int((frame["quality"] < 1).sum()),
        },
    )


@dg.asset(
    key=["selection", "leaks"],
    deps=[*document_keys(), benchmark_texts],
    group_name=GROUP,
    kinds={"parquet", "numba"},
    owners=OWNERS,
    code_version=leaks_stage().code_version,
)
def leaks(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a benchmark item and a document that holds a part of it: a fifth of its word n-grams, or the most.

    The leak index of a source is the mean over a benchmark's items of their best overlap. It is measured on all
    documents of a source, before decontamination: it says what a source is worth, not what is left of it.
    """
    texts = workspace.store.table("decontamination/benchmark_texts")
    version = texts.manifest().content_hash
    units = [
        Unit(name=unit.name, fingerprint=f"{unit.fingerprint} {version}", args=unit.args)
        for unit in table_units(document_tables(workspace), texts)
    ]
    table, run = run_stage(context, workspace, find_leaks, units, leaks_stage())
    return result(table, run, {"leak_index": _indices_table(leak_indices(table.read(), texts.read()).head(30))})


@dg.asset_check(
    asset=leaks,
    description=f"No source has a leak index above {MAXIMUM_INDEX:.0%} for any benchmark, before decontamination.",
)
def no_source_leaks(workspace: Workspace) -> dg.AssetCheckResult:
    """Compute the index of every source and benchmark; a warning, for decontamination drops the documents."""
    store = workspace.store
    found = leak_indices(store.table("selection/leaks").read(), store.table("decontamination/benchmark_texts").read())
    leaking = found.filter(pl.col("index") > MAXIMUM_INDEX)
    return dg.AssetCheckResult(
        passed=leaking.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"num_sources": leaking["source"].n_unique(), "leaking": _indices_table(leaking)},
    )


class SelectionConfig(Settings):
    """The bounds of the selection."""

    minimum_quality: float = Field(
        default=DEFAULT.minimum_quality, ge=0, le=1, description="Share of a document's own tests that must pass"
    )
    maximum_leak: float = Field(
        default=DEFAULT.maximum_leak, ge=0, le=1, description="Overlap with an item above which a document goes"
    )
    minimum_distance: float = Field(
        default=DEFAULT.minimum_distance, ge=0, le=2, description="Cosine distance to each document taken before"
    )
    max_documents: int = Field(default=0, ge=0, description="The most complex ones of those that qualify. 0: all")


@dg.asset(
    key=["selection", "instructions"],
    deps=[*document_keys(), scores, signals, matches, clusters, own_tests, leaks],
    group_name=GROUP,
    kinds={"parquet"},
    owners=OWNERS,
    code_version=selection_stage(DEFAULT).code_version,
)
def instructions(
    context: dg.AssetExecutionContext, config: SelectionConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """One row is an instruct document that passed every stage: selected, or the reason for which it is not.

    As in XCoder: the most complex first, those with failing tests and with benchmark items left out, and none that is
    like one before it. The plan of the mixture follows it where ``selected_instructions`` is set.
    """
    params = SelectionParams(**config.model_dump())
    tables, store = document_tables(workspace), workspace.store
    inputs = {name: store.table(key) for name, key in INPUTS.items()}
    units = whole_unit("instruct documents", [*tables, *inputs.values()], tables, inputs, params)
    table, run = run_stage(context, workspace, select_instructions, units, selection_stage(params))
    frame = table.read()
    counts = frame.group_by("source").agg(
        documents=pl.len(),
        selected=pl.col("drop_reason").is_null().sum(),
        complexity=pl.col("complexity").mean().round(2),
    )
    header = ("source", "documents", "selected", "mean complexity, bits")
    return result(table, run, {"by_source": md.markdown_table(header, counts.sort("source").iter_rows())})


def _indices_table(found: pl.DataFrame) -> Any:
    rows = ((source, benchmark, f"{index:.2%}") for source, benchmark, index in found.iter_rows())
    return md.markdown_table(("source", "benchmark", "leak index"), rows)


ASSETS = [own_tests, leaks, instructions]
CHECKS = [no_source_leaks]
