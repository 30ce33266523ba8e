"""The ledger: exactly one outcome for every document, kept or dropped, with the stage and the detail of the decision.

Invariant, asserted: ``num_in == num_kept + sum(num_dropped[reason])`` per source and in total.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from codeft_assets.curation.corpus.mixture import OVER_BUDGET
from codeft_assets.curation.report import StageReport

KEPT = "kept"
CONTAMINATED = "contaminated"
NOT_SELECTED = "not_selected"
EVERYTHING_SELECTED = pl.DataFrame(
    schema={"document_id": pl.String, "drop_reason": pl.String, "drop_detail": pl.String}
)
"""The documents that a selection leaves out, where there is none."""
LEDGER_SCHEMA = {
    "document_id": pl.String,
    "source": pl.String,
    "source_row": pl.String,
    "domain": pl.String,
    "format": pl.String,
    "language": pl.String,
    "num_chars": pl.UInt32,
    "fate": pl.String,
    "stage": pl.String,
    "detail": pl.String,
    "split": pl.String,
    "epochs": pl.UInt8,
    "annealing_epochs": pl.UInt8,
}
LEDGER_COLUMNS = {
    "fate": "kept, or the reason for which the document was left out",
    "stage": "the stage that decided",
    "detail": "rule and value; task and overlap; representative and Jaccard similarity",
    "split": "train or validation, for documents that were kept",
    "epochs": "how often training sees the document, annealing included",
    "annealing_epochs": "how many of these readings are in the annealing phase, at the end",
}


def documents_passing(documents: pl.DataFrame, scores: pl.DataFrame, matches: pl.DataFrame) -> pl.DataFrame:
    """Return the documents that neither quality nor decontamination drops, with their educational value."""
    good = scores.filter(pl.col("drop_reason").is_null()).select("document_id", "educational_value")
    clean = good.join(matches.select("document_id").unique(), on="document_id", how="anti")
    return documents.join(clean, on="document_id", how="inner", maintain_order="left")


def build_ledger(
    documents: pl.DataFrame,
    scores: pl.DataFrame,
    matches: pl.DataFrame,
    clusters: pl.DataFrame,
    plan: pl.DataFrame,
    left_out: pl.DataFrame = EVERYTHING_SELECTED,
) -> tuple[pl.DataFrame, StageReport]:
    """Return one row per document by ``LEDGER_SCHEMA``; the first stage that drops a document decides.

    The order of the stages is quality, decontamination, deduplication, selection, mixture: so no document is dropped as
    a duplicate of one that is itself dropped.
    """
    decided = (
        documents.join(_quality_drops(scores), on="document_id", how="left")
        .join(_contaminated(matches), on="document_id", how="left")
        .join(_duplicates(clusters), on="document_id", how="left")
        .join(_not_selected(left_out), on="document_id", how="left")
        .join(plan, on="document_id", how="left")
    )
    outcome = pl.coalesce(
        "quality",
        "decontamination",
        "deduplication",
        "selection",
        pl.when(pl.col("split").is_null()).then(pl.lit(OVER_BUDGET)),
        pl.lit(KEPT),
    )
    stages = ("quality", "decontamination", "deduplication", "selection")
    stage = pl.coalesce(*(pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in stages), pl.lit("mixture"))
    detail = pl.coalesce(*(f"{name}_detail" for name in stages), pl.lit(""))
    ledger = (
        decided.with_columns(fate=outcome, stage=stage, detail=detail)
        .with_columns(pl.col("epochs", "annealing_epochs").fill_null(0))
        .select(list(LEDGER_SCHEMA))
        .cast(LEDGER_SCHEMA)  # type: ignore[arg-type]
        .sort("document_id")
    )
    _check_ledger(ledger, documents)
    return ledger, _report(ledger)


def _quality_drops(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.filter(pl.col("drop_reason").is_not_null()).select(
        "document_id", quality="drop_reason", quality_detail="drop_detail"
    )


def _contaminated(matches: pl.DataFrame) -> pl.DataFrame:
    order = ["document_id", pl.col("overlap").neg(), "benchmark", "task_id", "field"]  # ties, too
    strongest = matches.sort(order).unique("document_id", keep="first", maintain_order=True)
    detail = pl.format("{} {} {}: overlap {}", "benchmark", "task_id", "field", pl.col("overlap").round(3))
    return strongest.select("document_id", decontamination=pl.lit(CONTAMINATED), decontamination_detail=detail)


def _duplicates(clusters: pl.DataFrame) -> pl.DataFrame:
    detail = pl.format("of {}: Jaccard {}", "representative_id", pl.col("jaccard").round(3))
    return clusters.select("document_id", deduplication="kind", deduplication_detail=detail)


def _not_selected(left_out: pl.DataFrame) -> pl.DataFrame:
    detail = pl.format("{}: {}", "drop_reason", "drop_detail")
    return left_out.select("document_id", selection=pl.lit(NOT_SELECTED), selection_detail=detail)


def _check_ledger(ledger: pl.DataFrame, documents: pl.DataFrame) -> None:
    assert ledger.height == documents.height == ledger["document_id"].n_unique(), (
        f"{documents.height} documents came in, the ledger has {ledger.height} rows for "
        f"{ledger['document_id'].n_unique()} of them"
    )
    trained = ledger.filter((pl.col("fate") != KEPT) & (pl.col("epochs") > 0))
    assert trained.is_empty(), f"{trained.height} documents are dropped by the ledger but trained on by the mixture"


TALLIED = ["source", "fate", "stage", "num_chars", "detail", "source_row"]


def tally_outcomes(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the number of documents and characters by source, fate and stage, and the detail and row of the first.

    Args:
        parts: The ledger's columns ``TALLIED``, of which one part is in memory at a time.
    """
    by, total = ("source", "fate", "stage"), pl.DataFrame()
    for part in parts:
        counted = part.with_columns(pl.col("num_chars").cast(pl.Int64), documents=pl.lit(1, pl.Int64))
        added = pl.concat([total, counted.select([*TALLIED, "documents"])]) if total.width else counted
        total = (
            added.group_by(by, maintain_order=True)
            .agg(pl.col("num_chars", "documents").sum(), pl.col("detail", "source_row").first())
            .select([*TALLIED, "documents"])
        )
    return total.sort(by)


def _report(ledger: pl.DataFrame) -> StageReport:
    counts = dict(ledger["fate"].value_counts().sort("fate").iter_rows())
    num_kept = counts.pop(KEPT, 0)
    return StageReport(num_in=ledger.height, num_out=num_kept, dropped=counts)
