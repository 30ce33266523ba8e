"""Yield of each source, also of those that make exercises: what came in, and what each stage left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from codeft_assets.curation.corpus.ledger import KEPT
from codeft_assets.curation.documents import CHARS_PER_TOKEN
from codeft_assets.curation.report import StageReport

STAGES = ("quality", "decontamination", "deduplication")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceYield:
    """Counts of one source, in the order of the stages."""

    source: str
    made: int
    """Rows and parts of rows."""
    passed: int
    """Documents."""
    after_quality: int
    after_decontamination: int
    after_deduplication: int
    kept: int
    """Within the budget of the mixture."""
    tokens_per_minute: int | None
    """Of documents, estimated; of one process, made and passed. None where no time was measured."""


def source_yields(ledger: pl.DataFrame, reports: Mapping[str, StageReport]) -> list[SourceYield]:
    """Return the yield of each source.

    Args:
        ledger: As ``tally_outcomes`` returns it.
        reports: Of the documents tables, by source.
    """
    return [_source_yield(name, ledger.filter(pl.col("source") == name), report) for name, report in reports.items()]


def _source_yield(name: str, ledger: pl.DataFrame, report: StageReport) -> SourceYield:
    left, counts = int(ledger["documents"].sum()), {}
    for stage in STAGES:
        left -= int(ledger.filter((pl.col("stage") == stage) & (pl.col("fate") != KEPT))["documents"].sum())
        counts[f"after_{stage}"] = left
    num_tokens = int(ledger["num_chars"].sum()) / CHARS_PER_TOKEN
    return SourceYield(
        source=name,
        made=report.num_in,
        passed=report.num_out,
        kept=int(ledger.filter(pl.col("fate") == KEPT)["documents"].sum()),
        tokens_per_minute=round(60 * num_tokens / report.seconds) if report.seconds else None,
        **counts,
    )
