"""The corpus on shards: the ledger of outcomes and the redacted documents; a unit reads its own part of the plan."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import polars as pl

from codeft_assets.curation.corpus import ledger
from codeft_assets.curation.corpus.redact import find_suspects, redact_all
from codeft_assets.curation.report import StageReport
from codeft_assets.curation.tally import sum_by
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.participants import Batch, of_other_documents, shards_beside
from codeft_assets.stages.plan import Deduplicated, PlanTables, not_selected, read_relatives
from codeft_assets.store.engine import ShardResult, Stage, Unit, table_units
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

_PLANS = "plans"


def ledger_stage() -> Stage:
    """Identify the ledger; what the stages before decided is part of the unit."""
    return Stage(name="corpus/ledger", code_version=code_version_of(decide_outcomes))


def ledger_units(documents: Deduplicated, plan: PlanTables) -> list[Unit]:
    """Return one unit per batch of documents.

    Raises:
        ValueError: the plan, or what it was made of, is of other documents.
    """
    batches, relatives = documents.list_batches(), plan.relatives.manifest()
    units, remaining = list[Unit](), iter(shards_beside(plan.plan, sum(len(batch.pieces) for batch in batches), _PLANS))
    for number, batch in enumerate(batches):
        planned = tuple(itertools.islice(remaining, len(batch.pieces)))
        hashes = (piece.fingerprint for piece in batch.pieces), (shard.content_hash for shard in planned)
        known = (relatives.content_hash, documents.selection.manifest().content_hash if documents.selection else "")
        fingerprint = combined_hash((str(number), *known, *itertools.chain(*hashes)))
        args = (documents, batch, number, plan, planned)
        units.append(Unit(name=f"{number} {batch.documents.key}", fingerprint=fingerprint, args=args))
    return units


def decide_outcomes(
    documents: Deduplicated, batch: Batch, number: int, plan: PlanTables, planned: tuple[Shard, ...]
) -> Iterator[ShardResult]:
    """Give the documents of a batch their one outcome, a shard for each shard of documents.

    Args:
        documents: What the stages before the plan decided.
        batch: Which documents.
        number: Of the batch.
        plan: The tables of the plan.
        planned: Its shards of these documents.
    """
    relatives = read_relatives(plan.relatives, number).drop_nulls("kind")
    columns = ["document_id", "source", "source_row", "domain", "format", "language", "num_chars"]
    for piece, shard in zip(batch.pieces, planned, strict=True):
        listed = batch.documents.scan_shard(piece.documents).select(columns).collect()
        scores = documents.inputs.scores.scan_shard(piece.scores).select(_SCORE_COLUMNS).collect()
        matches = documents.inputs.matches.scan_shard(piece.matches).collect()
        clusters = relatives.filter(pl.col("document_id").is_in(listed["document_id"].implode()))
        chosen = _read_plan(plan.plan, shard, listed["document_id"])
        left_out = not_selected(documents.selection, listed["document_id"])
        outcomes, report = ledger.build_ledger(listed, scores, matches, clusters, chosen, left_out)
        yield ShardResult(rows=outcomes.to_arrow(), report=report)


_SCORE_COLUMNS = ["document_id", "drop_reason", "drop_detail"]


MIXTURE_COLUMNS = [
    *("document_id", "source", "revision", "source_row", "domain", "format", "language"),
    *("messages", "text", "license", "split", "epochs", "annealing_epochs", "num_redacted", "redacted"),
]


def mixture_stage() -> Stage:
    """Identify the writing of the training documents; redaction is the only change to their text."""
    return Stage(name="corpus/mixture", code_version=code_version_of(collect_mixture))


def mixture_units(tables: list[Table], plan: Table) -> list[Unit]:
    """Return one unit per shard of documents, with the shard of the plan that is about the same documents.

    Raises:
        ValueError: the plan is of other documents.
    """
    units = table_units(tables, plan)
    return [
        replace(unit, fingerprint=combined_hash((unit.fingerprint, shard.content_hash)), args=(*unit.args, shard))
        for unit, shard in zip(units, shards_beside(plan, len(units), _PLANS), strict=True)
    ]


def _read_plan(plan: Table, shard: Shard, document_ids: pl.Series) -> pl.DataFrame:
    """Return what is planned for the documents of a shard."""
    chosen = plan.scan_shard(shard).select("document_id", "split", "epochs", "annealing_epochs").collect()
    if not chosen["document_id"].is_in(document_ids.implode()).all():
        raise of_other_documents(plan, f"in shard {shard.path}", _PLANS)
    return chosen


def collect_mixture(table: Table, shard: Shard, plan: Table, planned: Shard) -> Iterator[ShardResult]:
    """Collect the kept documents of a shard, their secrets replaced by placeholders."""
    rows = pl.DataFrame(table.read_shard(shard))
    chosen = _read_plan(plan, planned, rows["document_id"]).drop_nulls("split")
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


def build_lineage(mixture_table: Table, ledger_table: Table, licenses: Mapping[str, str]) -> str:
    """Return the corpus's lineage as JSON for the model card: sources, revisions, licenses, drop reasons."""
    found = pl.concat(part.unique() for part in mixture_table.read_parts(["source", "revision"])).unique()
    revisions = found.group_by("source").agg(pl.col("revision").sort())
    revision_of = {source: ", ".join(names) for source, names in revisions.iter_rows()}
    parts = (part.with_columns(documents=1) for part in ledger_table.read_parts(["source", "fate"]))
    outcomes = sum_by(parts, "source", "fate")
    num_kept = pl.col("documents").filter(pl.col("fate") == ledger.KEPT).sum()
    by_source = outcomes.group_by("source").agg(num_in=pl.col("documents").sum(), num_kept=num_kept)
    sources = [
        {**row, "revision": revision_of.get(row["source"], "nothing kept"), "license": licenses[row["source"]]}
        for row in by_source.sort("source").iter_rows(named=True)
    ]
    by_fate = outcomes.filter(pl.col("fate") != ledger.KEPT).group_by("fate").agg(pl.col("documents").sum())
    dropped = dict(by_fate.sort("fate").iter_rows())
    return json.dumps({"sources": sources, "dropped": dropped}, indent=1, sort_keys=True)
