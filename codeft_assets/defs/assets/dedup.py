"""Signatures and clusters: exact and near duplicates across all sources."""

from collections.abc import Iterator

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.curation.dedup.candidates import MAX_KEYS
from codeft_assets.curation.dedup.deduplicate import DedupParams
from codeft_assets.curation.dedup.minhash import MinHashParams
from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.assets.decontamination import matches
from codeft_assets.defs.assets.quality import scores
from codeft_assets.defs.automation.rules import on_documents_change, on_stage_change
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage, run_steps
from codeft_assets.defs.settings import Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.differences import differences
from codeft_assets.defs.web_ui.plots import histogram, stacked_bars
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages.dedup import (
    DedupTables,
    Group,
    clustering_steps,
    clustering_version,
    sign_documents,
    signatures_stage,
)
from codeft_assets.stages.participants import ClusterInputs
from codeft_assets.stages.texts import read_texts
from codeft_assets.store.engine import table_units
from codeft_assets.store.tables import Table

PRIORITIES = {name: source.priority for name, source in SOURCES.items()}
CLUSTER_COLUMNS = {
    "document_id": "the duplicate that is left out",
    "representative_id": "the document that is kept instead",
    "kind": "exact_duplicate: equal normalized text; near_duplicate: verified by exact Jaccard similarity",
    "jaccard": "share of word 5-shingles that both have, of those that either has",
}


@dg.asset(
    key=["dedup", "signatures"],
    deps=document_keys(),
    group_name="dedup",
    kinds={"parquet", "numba"},
    owners=OWNERS,
    code_version=signatures_stage(MinHashParams()).code_version,
    automation_condition=on_documents_change(),
)
def signatures(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is the MinHash signature of a document: 16 band keys over its word 5-shingles.

    Documents that are similar share a band key with high probability. Signatures are kept per shard, so a changed
    source costs only itself.
    """
    params = MinHashParams()
    units = table_units(document_tables(workspace), params)
    table, run = run_stage(context, workspace, sign_documents, units, signatures_stage(params))
    short = sum(int((part["num_shingles"] == 0).sum()) for part in table.read_parts(["num_shingles"]))
    return result(
        table,
        run,
        {"num_without_shingles": short, "dagster/column_schema": md.column_schema(table, _SIGNATURE_COLUMNS)},
    )


_SIGNATURE_COLUMNS = {
    **dict.fromkeys(MinHashParams().band_columns(), "key of a band: documents that share one are compared"),
    "content_hash": "hash of the text's bytes: equal for exact duplicates",
    "shingle_sum": "sum of the shingles' hashes: equal for equal shingles",
    "num_shingles": "word 5-shingles; 0 for documents of fewer than five words, which have exact duplicates only",
}


class DedupConfig(Settings):
    """The similarity at which two documents count as the same."""

    threshold: float = Field(
        default=0.7, gt=0, le=1, description="Smallest Jaccard similarity of word 5-shingles at which a document goes"
    )
    code_threshold: float = Field(default=0.8, gt=0, le=1, description="The same of two programs in one language")
    max_keys: int = Field(
        default=MAX_KEYS,
        ge=1 << 16,
        description="Band keys that a process holds, at about 40 bytes each: bounds memory, changes no result",
    )


@dg.asset(
    key=["dedup", "clusters"],
    deps=[*document_keys(), signatures, scores, matches],
    group_name="dedup",
    kinds={"parquet", "numba"},
    owners=OWNERS,
    code_version=clustering_version(),
    automation_condition=on_stage_change(),
)
def clusters(context: dg.AssetExecutionContext, config: DedupConfig, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a duplicate, with the document that is kept instead and their similarity.

    Only documents that pass quality and decontamination take part. Every pair is verified by exact Jaccard similarity,
    and a document goes only if it is similar to one that is kept: no chains. Programs in two languages are no
    duplicates, nor are two that differ in operators, in brackets or, in Python, in indentation. Kept is the copy of
    the source with the lowest priority number, then of the highest educational value, then the longest.
    """
    params = DedupParams(**config.model_dump())
    inputs, written = cluster_inputs(workspace), DedupTables.of(workspace.store)
    table, run = run_steps(context, workspace, clustering_steps(inputs, written, params, PRIORITIES))
    is_near = pl.col("kind") == "near_duplicate"
    similarities = (part["jaccard"] for part in table.read_parts(["jaccard"], is_near))
    return result(
        table,
        run,
        {
            "pairs_between_sources": stacked_bars(
                _by_source(table, written.candidates),
                title="duplicates by source and by the source kept",
                unit="documents",
            ),
            "jaccard": histogram(similarities, title="similarity of near duplicates", unit="Jaccard"),
            "preview": _pairs_preview(_samples(table.read_parts(_PAIR_COLUMNS, is_near)), inputs.documents),
            "dagster/column_schema": md.column_schema(table, CLUSTER_COLUMNS),
        },
    )


def cluster_inputs(workspace: Workspace) -> ClusterInputs:
    """Return what clustering reads."""
    store = workspace.store
    return ClusterInputs(
        documents=document_tables(workspace),
        signatures=store.table("dedup/signatures"),
        scores=store.table("quality/scores"),
        matches=store.table("decontamination/matches"),
    )


_PAIR_COLUMNS = ["document_id", "representative_id", "jaccard"]


def _samples(parts: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """Return the least similar pairs, where a threshold is judged, and the one in the middle of a part."""
    lowest, middle, order = pl.DataFrame(), pl.DataFrame(), ["jaccard", "document_id"]
    for part in parts:
        ordered = part.sort(order)
        lowest = (pl.concat([lowest, ordered[:2]]) if lowest.width else ordered[:2]).sort(order)[:2]
        middle = ordered[ordered.height // 2 :][:1] if middle.is_empty() else middle
    return pl.concat([lowest, middle]).unique(maintain_order=True)


def _by_source(clusters_table: Table, candidates: Table) -> dict[str, dict[str, float]]:
    def named() -> Iterator[pl.DataFrame]:
        for number, part in enumerate(clusters_table.read_parts(["document_id", "representative_id"])):
            source = Group(candidates=candidates, number=number, num_alone=0).sources()
            kept = source.rename({"document_id": "representative_id", "source": "kept"})
            pairs = part.join(source, on="document_id").join(kept, on="representative_id")
            yield pairs.select("source", "kept", documents=1)

    counts = sum_by(named(), "source", "kept").sort("source", "kept")
    rows: dict[str, dict[str, float]] = {}
    for name, kept, count in counts.iter_rows():
        rows.setdefault(name, {})[f"of {kept}"] = count
    return rows


def _pairs_preview(pairs: pl.DataFrame, tables: list[Table]) -> dg.MarkdownMetadataValue:
    """Return sample pairs, what differs between the kept document and the one that is left out."""
    parts = []
    for row in pairs.iter_rows(named=True):
        gone, kept = read_texts(tables, [row["document_id"], row["representative_id"]])
        header = (f"kept: {row['representative_id'][:8]}", f"left out: {row['document_id'][:8]}")
        parts.append(f"**Jaccard {row['jaccard']:.3f}**\n\n{differences(kept, gone, header)}")
    return dg.MetadataValue.md("\n\n".join(parts) or "no near duplicates")
