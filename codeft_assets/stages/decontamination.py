"""Decontamination on shards: documents against every benchmark item."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from codeft_assets.curation.corpus.ledger import CONTAMINATED
from codeft_assets.curation.decontamination.overlaps import build_index, find_overlaps, find_own_documents
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.texts import text_column
from codeft_assets.store.engine import ShardResult, Stage
from codeft_assets.store.manifest import Shard
from codeft_assets.store.tables import Table


def matches_stage() -> Stage:
    """Identify the search for benchmark items; the hash of the items is part of each unit."""
    return Stage(name="decontamination/matches", code_version=code_version_of(match_documents))


def match_documents(table: Table, shard: Shard, benchmark_texts: Table) -> Iterator[ShardResult]:
    """Compare the documents of a shard with every benchmark item."""
    items = benchmark_texts.read()
    rows = table.read_shard(shard, ["document_id", "text"])
    document_ids = pl.Series("document_id", rows["document_id"].combine_chunks())
    found = find_overlaps(document_ids, text_column(rows), build_index(items))
    sizes = pl.DataFrame({"document_id": document_ids, "num_bytes": pl.Series(text_column(rows)).str.len_bytes()})
    matches = pl.concat([found, find_own_documents(sizes, items)])
    num_found = matches["document_id"].n_unique()
    dropped = {CONTAMINATED: num_found} if num_found else {}
    report = StageReport(num_in=rows.num_rows, num_out=rows.num_rows - num_found, dropped=dropped)
    yield ShardResult(rows=matches.to_arrow(), report=report)
