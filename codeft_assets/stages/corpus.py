"""The corpus on shards: the plan of the mixture, the ledger of outcomes, and the redacted training documents."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple

import polars as pl

from codeft_assets.curation.corpus import ledger
from codeft_assets.curation.corpus.mixture import Mixture, plan_mixture
from codeft_assets.curation.corpus.redact import find_suspects, redact_all
from codeft_assets.curation.dedup.groups import group_near_duplicates
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.candidates import linked_documents
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.texts import IdRange, all_documents
from codeft_assets.store.engine import ShardResult, Stage, Unit, whole_unit
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

MAX_OUTCOMES = 1 << 20
"""Documents whose outcomes a unit decides."""
_LEFT_OUT_COLUMNS = ["document_id", "drop_reason", "drop_detail"]
IS_SELECTED = "is_selected"
"""Parameter of a plan that was made of what the selection selected."""


def plan_stage(plan: Mixture, weights: Mapping[str, float], *, is_selected: bool = False) -> Stage:
    """Identify the plan of the mixture; its inputs' hashes are part of the unit."""
    parameters = dict(zip(plan.__slots__, astuple(plan), strict=True)) | {"weights": dict(weights)}
    parameters |= {IS_SELECTED: True} if is_selected else {}
    return Stage(
        name="corpus/mixture_plan",
        code_version=code_version_of(plan_documents),
        parameters=parameters,
    )


def plan_documents(
    tables: list[Table], inputs: Mapping[str, Table], plan: Mixture, weights: Mapping[str, float]
) -> Iterator[ShardResult]:
    """Plan the mixture of the documents that passed every stage.

    Args:
        tables: The documents.
        inputs: The tables ``scores``, ``matches``, ``candidates`` and ``clusters``; with ``selection`` only the
            instruct documents that it selected are planned.
        plan: Shares, budget, phases and seed.
        weights: Relative weight of each source within its domain.
    """
    listed = all_documents(tables, ["document_id", "source", "domain", "format", "language", "num_chars"])
    scores = inputs["scores"].read(["document_id", "drop_reason", "educational_value"])
    passing = ledger.documents_passing(listed, scores, inputs["matches"].read(["document_id"]))
    clusters = inputs["clusters"].read(["document_id", "representative_id"])
    linked = linked_documents(inputs["candidates"], ["component"])
    grouped = group_near_duplicates(passing.join(clusters, on="document_id", how="anti"), linked)
    is_alone = ~pl.col("document_id").is_in(clusters["representative_id"].implode())
    wanted = grouped.with_columns(is_alone=is_alone)
    if "selection" in inputs:
        left_out = not_selected(inputs["selection"]).select("document_id")
        wanted = wanted.join(left_out, on="document_id", how="anti", maintain_order="left")
    chosen, report = plan_mixture(wanted, weights, plan)
    num_left_out = grouped.height - wanted.height
    dropped = {**report.dropped, **({ledger.NOT_SELECTED: num_left_out} if num_left_out else {})}
    report = StageReport(num_in=grouped.height, num_out=report.num_out, dropped=dropped)
    yield ShardResult(rows=chosen.to_arrow(), report=report)


def not_selected(selection: Table) -> pl.DataFrame:
    """Return ``document_id``, ``drop_reason`` and ``drop_detail`` of the documents that a selection leaves out."""
    return selection.read(_LEFT_OUT_COLUMNS).drop_nulls("drop_reason")


def ledger_stage() -> Stage:
    """Identify the ledger; its inputs' hashes are part of the unit."""
    return Stage(name="corpus/ledger", code_version=code_version_of(decide_outcomes))


def ledger_units(tables: list[Table], inputs: Mapping[str, Table]) -> list[Unit]:
    """Return one unit for every ``MAX_OUTCOMES`` documents, by ranges of their ids: the ledger is sorted by id."""
    num_documents = sum(table.manifest().num_rows for table in tables)
    (whole,) = whole_unit("all documents", [*tables, *inputs.values()])
    return [
        Unit(
            name=f"documents {ids.name}",
            fingerprint=combined_hash((whole.fingerprint, ids.name)),
            args=(ids, tables, inputs),
        )
        for ids in IdRange.divide(num_documents, MAX_OUTCOMES)
    ]


def decide_outcomes(ids: IdRange, tables: list[Table], inputs: Mapping[str, Table]) -> Iterator[ShardResult]:
    """Give documents their one outcome.

    Args:
        ids: Which documents.
        tables: The documents.
        inputs: The tables ``scores``, ``matches``, ``clusters`` and ``plan``, and ``selection`` where the plan was made
            of what it selected.
    """
    columns = ["document_id", "source", "source_row", "domain", "format", "language", "num_chars"]
    listed = pl.concat([ids.read(table, columns) for table in tables])
    scores = ids.read(inputs["scores"], ["document_id", "drop_reason", "drop_detail", "educational_value"])
    chosen = ids.read(inputs["plan"], ["document_id", "split", "epochs", "annealing_epochs"])
    left_out = ledger.EVERYTHING_SELECTED
    if "selection" in inputs:
        left_out = ids.read(inputs["selection"], _LEFT_OUT_COLUMNS).drop_nulls("drop_reason")
    drops = ids.read(inputs["matches"]), ids.read(inputs["clusters"])
    outcomes, report = ledger.build_ledger(listed, scores, *drops, chosen, left_out)
    yield ShardResult(rows=outcomes.to_arrow(), report=report)


MIXTURE_COLUMNS = [
    *("document_id", "source", "revision", "source_row", "domain", "format", "language"),
    *("messages", "text", "license", "split", "epochs", "annealing_epochs", "num_redacted", "redacted"),
]


def mixture_stage() -> Stage:
    """Identify the writing of the training documents; redaction is the only change to their text."""
    return Stage(name="corpus/mixture", code_version=code_version_of(collect_mixture))


def collect_mixture(table: Table, shard: Shard, outcomes: Table) -> Iterator[ShardResult]:
    """Collect the kept documents of a shard, their secrets replaced by placeholders."""
    rows = pl.DataFrame(table.read_shard(shard))
    is_ours = (pl.col("fate") == ledger.KEPT) & pl.col("document_id").is_in(rows["document_id"].implode())
    parts = [outcomes.scan_shard(part).filter(is_ours) for part in outcomes.manifest().shards]
    chosen = pl.concat([part.select("document_id", "split", "epochs", "annealing_epochs").collect() for part in parts])
    kept = rows.join(chosen, on="document_id", how="inner", maintain_order="left")
    clean = redact_documents(kept)
    report = StageReport(
        num_in=rows.height,
        num_out=kept.height,
        dropped={"left_out": rows.height - kept.height} if rows.height > kept.height else {},
    )
    yield ShardResult(rows=clean.select(MIXTURE_COLUMNS).to_arrow(), report=report)


def redact_documents(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with secrets replaced in ``text`` and ``messages``; ``redacted`` names the kind of each."""
    suspect = find_suspects(rows["text"])
    texts, turns, kinds = rows["text"].to_list(), rows["messages"].to_list(), [[] for _ in range(rows.height)]
    rows_to_clean = suspect.arg_true().to_list()  # a row loop over the few documents that need one
    for i, (text, found) in zip(rows_to_clean, redact_all([texts[i] for i in rows_to_clean]), strict=True):
        texts[i] = text
        kinds[i] = sorted(itertools.chain.from_iterable([kind] * count for kind, count in found.items()))
        if turns[i] is not None and found:
            clean = redact_all([turn["content"] for turn in turns[i]])
            turns[i] = [turn | {"content": content} for turn, (content, _) in zip(turns[i], clean, strict=True)]
    return rows.with_columns(
        text=pl.Series(texts, dtype=pl.String),
        messages=pl.Series(turns, dtype=rows.schema["messages"]),
        redacted=pl.Series(kinds, dtype=pl.List(pl.String)),
    ).with_columns(num_redacted=pl.col("redacted").list.len().cast(pl.UInt32))


def build_lineage(mixture_table: Table, outcomes: pl.DataFrame, licenses: Mapping[str, str]) -> str:
    """Return the corpus's lineage as JSON for the model card: sources, revisions, licenses, drop reasons."""
    revisions = mixture_table.scan().group_by("source").agg(pl.col("revision").unique().sort()).collect()
    revision_of = {source: ", ".join(found) for source, found in revisions.iter_rows()}
    by_source = outcomes.group_by("source").agg(num_in=pl.len(), num_kept=(pl.col("fate") == ledger.KEPT).sum())
    sources = [
        {**row, "revision": revision_of.get(row["source"], "nothing kept"), "license": licenses[row["source"]]}
        for row in by_source.sort("source").iter_rows(named=True)
    ]
    dropped = dict(outcomes.filter(pl.col("fate") != ledger.KEPT)["fate"].value_counts().sort("fate").iter_rows())
    return json.dumps({"sources": sources, "dropped": dropped}, indent=1, sort_keys=True)
