"""Binds the pure functions of ``curation`` to shards: what runs in a worker process, one call a unit of work.

Each function takes picklable arguments and yields ``ShardResult``s; each ``*_stage`` says what its result depends on.
"""

from __future__ import annotations

import inspect
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from typing import Any

import polars as pl
import pyarrow as pa

from codeft_assets.curation.corpus import ledger, mixture
from codeft_assets.curation.corpus import redact as secrets
from codeft_assets.curation.corpus.mixture import Mixture
from codeft_assets.curation.decontamination import overlaps as decontaminate
from codeft_assets.curation.dedup import groups
from codeft_assets.curation.ingest import rows as ingest
from codeft_assets.curation.report import StageReport
from codeft_assets.origins import Origin, Upstream
from codeft_assets.source import Source
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_assets.store.manifest import Shard
from codeft_assets.store.tables import Table


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow()


def text_column(table: pa.Table) -> pa.Array:
    """Return the texts as one Arrow array, which the kernels read in place."""
    column = table["text"]
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even a single chunk
    return whole.cast(pa.large_string())


# -- documents ---------------------------------------------------------------------------------------------------------


def documents_stage(source: Source, max_rows: int | None) -> Stage:
    """Identify the ingest of one source: the code of its own adapter, not of others'."""
    adapter = source.adapter
    return Stage(
        name="documents",
        code_version=code_version_of(read_documents, adapter_code(source)),
        parameters={
            "adapter": adapter.__qualname__ if inspect.isfunction(adapter) else repr(adapter),
            "provenance": list(astuple(source.provenance(""))),
            "max_rows": max_rows,
        },
    )


def adapter_code(source: Source) -> Any:
    """Return the function or the class that adapts a source's rows."""
    return source.adapter if inspect.isfunction(source.adapter) else type(source.adapter)


def file_units(source: Source, origin: Origin, upstream: Upstream, max_rows: int | None) -> list[Unit]:
    """Return one unit per upstream file: an unchanged file is read again only when the code that reads it changed."""
    reader = code_version_of(type(origin))
    return [
        Unit(
            name=f"{source.name}/{file.path}",
            fingerprint=f"{file.path} {file.fingerprint} {reader}",
            args=(source, origin, replace(upstream, files=(file,)), max_rows),
        )
        for file in upstream.files
    ]


def read_documents(source: Source, origin: Origin, upstream: Upstream, max_rows: int | None) -> Iterator[ShardResult]:
    """Read the rows of the one file of ``upstream`` and turn them into documents and rejects."""
    rows = itertools.islice(origin.read(upstream, upstream.files[0]), max_rows)
    start = time.monotonic()
    for accepted, rejected, report in ingest.adapt_rows(rows, source.adapter, source.provenance(upstream.revision)):
        now = time.monotonic()
        yield ShardResult(rows=accepted, rejects=rejected, report=replace(report, seconds=now - start))
        start = now


# -- decontamination ---------------------------------------------------------------------------------------------------


def matches_stage() -> Stage:
    """Identify the search for benchmark items; the hash of the items is part of each unit."""
    return Stage(
        name="decontamination/matches",
        code_version=code_version_of(match_documents),
        parameters={},
    )


def match_documents(table: Table, shard: Shard, benchmark_texts: Table) -> Iterator[ShardResult]:
    """Compare the documents of a shard with every benchmark item."""
    items = benchmark_texts.read()
    rows = table.read_shard(shard, ["document_id", "text"])
    document_ids = pl.Series("document_id", rows["document_id"].combine_chunks())
    found = decontaminate.find_overlaps(document_ids, text_column(rows), decontaminate.build_index(items))
    sizes = pl.DataFrame({"document_id": document_ids, "num_bytes": pl.Series(text_column(rows)).str.len_bytes()})
    matches = pl.concat([found, decontaminate.find_own_documents(sizes, items)])
    num_found = matches["document_id"].n_unique()
    dropped = {ledger.CONTAMINATED: num_found} if num_found else {}
    report = StageReport(num_in=rows.num_rows, num_out=rows.num_rows - num_found, dropped=dropped)
    yield ShardResult(rows=_arrow(matches), report=report)


def all_documents(tables: list[Table], columns: list[str]) -> pl.DataFrame:
    """Return columns of all documents of all sources; never ``text`` of everything."""
    return pl.concat([table.scan().select(columns) for table in tables]).collect()


# -- corpus ------------------------------------------------------------------------------------------------------------


def plan_stage(plan: Mixture, weights: Mapping[str, float]) -> Stage:
    """Identify the plan of the mixture; its inputs' hashes are part of the unit."""
    parameters = dict(zip(plan.__slots__, astuple(plan), strict=True)) | {"weights": dict(weights)}
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
        inputs: The tables ``scores``, ``matches``, ``signatures`` and ``clusters``.
        plan: Shares, budget, phases and seed.
        weights: Relative weight of each source within its domain.
    """
    listed = all_documents(tables, ["document_id", "source", "domain", "format", "language", "num_chars"])
    scores = inputs["scores"].read(["document_id", "drop_reason", "educational_value"])
    passing = ledger.documents_passing(listed, scores, inputs["matches"].read(["document_id"]))
    clusters = inputs["clusters"].read(["document_id", "representative_id"])
    signed = inputs["signatures"].read().join(passing.select("document_id"), on="document_id", how="semi")
    bands = [column for column in signed.columns if column.startswith("band_")]
    grouped = passing.join(clusters, on="document_id", how="anti").join(
        groups.group_near_duplicates(signed, clusters, bands), on="document_id"
    )
    chosen, report = mixture.plan_mixture(grouped, weights, plan)
    yield ShardResult(rows=_arrow(chosen), report=report)


def ledger_stage() -> Stage:
    """Identify the ledger; its inputs' hashes are part of the unit."""
    return Stage(name="corpus/ledger", code_version=code_version_of(decide_fates), parameters={})


def decide_fates(
    tables: list[Table], scores: Table, matches: Table, clusters: Table, plan: Table
) -> Iterator[ShardResult]:
    """Give every document its fate."""
    columns = ["document_id", "source", "source_row", "domain", "format", "language", "num_chars"]
    listed = all_documents(tables, columns)
    quality_scores = scores.read(["document_id", "drop_reason", "drop_detail", "educational_value"])
    chosen = plan.read(["document_id", "split", "epochs", "annealing_epochs"])
    fates, report = ledger.build_ledger(listed, quality_scores, matches.read(), clusters.read(), chosen)
    yield ShardResult(rows=_arrow(fates), report=report)


MIXTURE_COLUMNS = [
    *("document_id", "source", "revision", "source_row", "domain", "format", "language"),
    *("messages", "text", "license", "split", "epochs", "annealing_epochs", "num_redacted", "redacted"),
]


def mixture_stage() -> Stage:
    """Identify the writing of the training documents; redaction is the only change to their text."""
    return Stage(name="corpus/mixture", code_version=code_version_of(collect_mixture))


def collect_mixture(table: Table, shard: Shard, fates: Table) -> Iterator[ShardResult]:
    """Collect the kept documents of a shard, their secrets replaced by placeholders."""
    kept_rows = fates.scan().filter(pl.col("fate") == ledger.KEPT)
    chosen = kept_rows.select("document_id", "split", "epochs", "annealing_epochs").collect()
    rows = pl.DataFrame(table.read_shard(shard))
    kept = rows.join(chosen, on="document_id", how="inner", maintain_order="left")
    clean = redact_documents(kept)
    report = StageReport(
        num_in=rows.height,
        num_out=kept.height,
        dropped={"left_out": rows.height - kept.height} if rows.height > kept.height else {},
    )
    yield ShardResult(rows=_arrow(clean.select(MIXTURE_COLUMNS)), report=report)


def redact_documents(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with secrets replaced in ``text`` and ``messages``; ``redacted`` names the kind of each."""
    suspect = secrets.find_suspects(rows["text"])
    texts, turns, kinds = rows["text"].to_list(), rows["messages"].to_list(), [[] for _ in range(rows.height)]
    for i in suspect.arg_true():  # a row loop over the few documents that need one
        texts[i], found = secrets.redact(texts[i])
        kinds[i] = sorted(itertools.chain.from_iterable([kind] * count for kind, count in found.items()))
        if turns[i] is not None and found:
            turns[i] = [turn | {"content": secrets.redact(turn["content"])[0]} for turn in turns[i]]
    return rows.with_columns(
        text=pl.Series(texts, dtype=pl.String),
        messages=pl.Series(turns, dtype=rows.schema["messages"]),
        redacted=pl.Series(kinds, dtype=pl.List(pl.String)),
    ).with_columns(num_redacted=pl.col("redacted").list.len().cast(pl.UInt32))


def lineage_of(mixture_table: Table, fates: pl.DataFrame, licenses: Mapping[str, str]) -> str:
    """Return the corpus's lineage as JSON for the model card: sources, revisions, licenses, what was dropped."""
    revisions = mixture_table.scan().group_by("source").agg(pl.col("revision").unique().sort()).collect()
    revision_of = {source: ", ".join(found) for source, found in revisions.iter_rows()}
    by_source = fates.group_by("source").agg(num_in=pl.len(), num_kept=(pl.col("fate") == ledger.KEPT).sum())
    sources = [
        {**row, "revision": revision_of.get(row["source"], "nothing kept"), "license": licenses[row["source"]]}
        for row in by_source.sort("source").iter_rows(named=True)
    ]
    dropped = dict(fates.filter(pl.col("fate") != ledger.KEPT)["fate"].value_counts().sort("fate").iter_rows())
    return json.dumps({"sources": sources, "dropped": dropped}, indent=1, sort_keys=True)
