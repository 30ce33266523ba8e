"""Annotations, classifier and scores: the educational value of every document, and the rules it breaks."""

from dataclasses import asdict
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
import xxhash
from pydantic import Field

from codeft_assets.curation import classifier_report, educational_value, embedding, embedding_kernel, labels, signals
from codeft_assets.curation.labels import Label, LabeledDocuments
from codeft_assets.curation.report import StageReport
from codeft_assets.defs import metadata as md
from codeft_assets.defs.automation import on_documents_change
from codeft_assets.defs.plots import bar_plot, histogram, line_plot, stacked_bars
from codeft_assets.defs.shell import OWNERS, document_keys, document_tables, result, run_stage
from codeft_assets.defs.workspace import Workspace
from codeft_assets.engine import ShardResult, Stage, Unit, table_units
from codeft_assets.origins.labeled_documents import read_labeled_file, sample_texts, shipped_labels
from codeft_assets.sources import SOURCES
from codeft_assets.stages import SCORE_COLUMNS, code_version_of, score_documents, scores_stage
from codeft_assets.storage import Table, write_atomically

CLASSIFIER_FILE = "classifier.skops"
ANNOTATION_COLUMNS = {
    "name": "the file or sample row that was read",
    "origin": "its package or source",
    "label": "0 to 5: educational value to a student",
    "reason": "why, in one line",
    "is_held_out": "kept from training, to measure the classifier",
    "text": "the document, as the classifier reads it",
}


def annotate() -> Any:
    """Yield the shipped labels with their texts; labels whose document is absent or has changed are rejects."""
    found = shipped_labels()
    samples = sample_texts(SOURCES.values())
    texts, rejects = [], []
    for label in found:
        text = labels.label_text(label, read_labeled_file, samples)
        target = texts if text is not None else rejects
        target.append(_row(label, text))
    report = StageReport(
        num_in=len(found), num_out=len(texts), dropped={"document_absent_or_changed": len(rejects)} if rejects else {}
    )
    yield ShardResult(rows=pa.Table.from_pylist(texts), rejects=pa.Table.from_pylist(rejects), report=report)


def _row(label: Label, text: str | None) -> dict[str, object]:
    return {
        "document_id": label.content_hash,
        "name": f"{label.origin}/{label.path or label.content_hash[:12]}",
        "origin": label.origin,
        "label": label.label,
        "reason": label.reason,
        "annotator": "shipped",
        "is_held_out": label.is_held_out,
        "language": "" if text is None else labels.label_language(label, text),
        "text": text or "",
    }


@dg.asset(
    key=["quality", "annotations"],
    group_name="quality",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version_of(labels),
)
def annotations(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a label: a person's judgment, 0 to 5, of what a document teaches, with the reason.

    The labels ship with the project and name files of the Python standard library, of pinned dependencies and rows of
    the embedded samples by content hash. A label whose document is absent or changed is left out and counted.
    """
    stage = Stage(name="quality/annotations", code_version=code_version_of(labels))
    table, outcome = run_stage(context, workspace, annotate, _annotation_units(), stage)
    frame = table.read(["name", "origin", "label", "reason", "is_held_out"])
    counts = {f"label {label}": n for label, n in frame["label"].value_counts().sort("label").iter_rows()}
    preview = frame.sample(min(12, frame.height), seed=1).sort("label").iter_rows()
    return result(
        table,
        outcome,
        {
            "num_held_out": int(frame["is_held_out"].sum()),
            "labels": bar_plot(counts, title="labels", unit="documents"),
            "preview": md.markdown_table(frame.columns, preview),
            "dagster/column_schema": md.column_schema(table, ANNOTATION_COLUMNS),
        },
    )


def _annotation_units() -> list[Unit]:
    found = shipped_labels()
    # the packages' files are an input too: an upgraded package must be read again
    files = [read_labeled_file(label) if label.kind == "package" else None for label in found]
    known = [f"{label} {xxhash.xxh3_64_hexdigest(content or b'')}" for label, content in zip(found, files, strict=True)]
    return [Unit(name="shipped", fingerprint=xxhash.xxh3_128_hexdigest("\n".join(known)), args=())]


class ClassifierConfig(dg.Config):
    """How the classifier is trained."""

    seed: int = Field(default=1, description="Seed of the forest and of the embedding")


@dg.asset(
    key=["quality", "classifier"],
    deps=[annotations],
    group_name="quality",
    kinds={"scikitlearn"},
    owners=OWNERS,
    code_version=f"{signals.SIGNALS_VERSION}-{code_version_of(educational_value, embedding, embedding_kernel, labels)}",
)
def classifier(
    context: dg.AssetExecutionContext, config: ClassifierConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """The random forest that predicts the educational value of a document, as in phi-1 (arXiv 2306.11644).

    It reads about forty signals of the text and a hashed n-gram embedding fitted on the labeled documents. It is
    measured on labels it has not seen, and stored as a skops archive: loading it cannot run code.
    """
    table = workspace.store.table("quality/annotations")
    training, held_out = (labeled(table, held_out=side) for side in (False, True))
    fitted = educational_value.fit_classifier(training, seed=config.seed)
    content = educational_value.dump(fitted)
    path = workspace.store.folder("quality/classifier") / CLASSIFIER_FILE
    write_atomically(table.filesystem, str(path), content)
    card = classifier_report.evaluate(fitted, held_out)
    return dg.MaterializeResult(
        metadata={**_card(card), "path": dg.MetadataValue.path(str(path)), "size_bytes": len(content)},
        # the archive holds time stamps; the weights are decided by labels, seed and code
        data_version=dg.DataVersion(_classifier_hash(table, config.seed)),
    )


def _classifier_hash(table: Table, seed: int) -> str:
    version = f"{signals.SIGNALS_VERSION}-{code_version_of(educational_value, embedding, embedding_kernel, labels)}"
    return xxhash.xxh3_128_hexdigest(f"{table.manifest().content_hash} {seed} {version}")


def labeled(table: Table, *, held_out: bool) -> LabeledDocuments:
    """Return one side of the annotations as the classifier reads them."""
    rows = table.read().filter(pl.col("is_held_out") == held_out)
    return LabeledDocuments(
        text=rows["text"].to_arrow().cast(pa.large_string()),
        language=rows["language"].to_arrow().cast(pa.string()),
        label=rows["label"].to_numpy().astype(np.int64),
        origin=tuple(rows["origin"]),
        name=tuple(rows["name"]),
        num_left_out=table.manifest().report.num_dropped,
    )


def _card(card: classifier_report.ClassifierReport) -> dict[str, Any]:
    calibration = [(bin_.mean_value, bin_.good_fraction) for bin_ in card.calibration if bin_.num_documents]
    disagreements = [tuple(asdict(found).values()) for found in card.worst_disagreements]
    measured = {"auc": card.auc, "spearman": card.spearman}
    return {
        **{name: round(value, 4) for name, value in measured.items() if value is not None},
        "num_trained": card.num_trained,
        "num_held_out": card.num_held_out,
        "num_left_out": card.num_left_out,
        "auc_by_language": md.markdown_table(("language", "AUC"), card.auc_by_language.items()),
        "auc_by_origin": md.markdown_table(("origin", "AUC"), card.auc_by_origin.items()),
        "top_features": bar_plot(dict(card.top_features), title="what the forest looks at", unit="importance"),
        "calibration": line_plot(
            {"classifier": calibration, "perfect": [(0.0, 0.0), (1.0, 1.0)]},
            title="calibration on held-out labels",
            x_label="predicted educational value",
            y_label="share labeled 3 or more",
        ),
        "worst_disagreements": md.markdown_table(("document", "label", "educational value"), disagreements),
    }


class ScoresConfig(dg.Config):
    """The bar a document must reach."""

    minimum_educational_value: float = Field(
        default=-1.0, le=1.0, description="One minimum for all sources, 0 to 1. Negative: each source's own (catalogue)"
    )


@dg.asset(
    key=["quality", "scores"],
    deps=[*document_keys(), classifier],
    group_name="quality",
    kinds={"parquet", "numba"},
    owners=OWNERS,
    code_version=scores_stage({}).code_version,
    automation_condition=on_documents_change(),
)
def scores(context: dg.AssetExecutionContext, config: ScoresConfig, workspace: Workspace) -> dg.MaterializeResult:
    """One row says of a document: its signals, its educational value, and the reason quality would drop it for.

    Rules are published bounds (Gopher, C4, FineWeb, StarCoder, OpenCoder) that apply by format, domain and language;
    rules for prose never judge code. Nothing is deleted here: the ledger decides, and a threshold can be changed
    without reading a text again.
    """
    minimum = {name: source.minimum_educational_value for name, source in SOURCES.items()}
    if config.minimum_educational_value >= 0:
        minimum = dict.fromkeys(minimum, config.minimum_educational_value)
    path = workspace.store.folder("quality/classifier") / CLASSIFIER_FILE
    annotations_hash = workspace.store.table("quality/annotations").manifest().content_hash
    units = _with_input(table_units(document_tables(workspace), str(path), minimum), annotations_hash)
    table, outcome = run_stage(context, workspace, score_documents, units, scores_stage(minimum))
    return result(table, outcome, _scores_metadata(table, workspace))


def _with_input(units: list[Unit], fingerprint: str) -> list[Unit]:
    return [Unit(name=u.name, fingerprint=f"{u.fingerprint} {fingerprint}", args=u.args) for u in units]


def _scores_metadata(table: Table, workspace: Workspace) -> dict[str, Any]:
    frame = table.scan().select("document_id", "source", "educational_value", "drop_reason", "drop_detail").collect()
    dropped = frame.filter(pl.col("drop_reason").is_not_null())
    by_source = {
        source: dict(part["drop_reason"].value_counts().iter_rows())
        for (source,), part in dropped.sort("source").group_by("source", maintain_order=True)
    }
    lowest, best = dropped.head(3), frame.filter(pl.col("drop_reason").is_null()).top_k(2, by="educational_value")
    return {
        "kept_fraction": round(1 - dropped.height / max(frame.height, 1), 4),
        "educational_value": histogram(frame["educational_value"].to_list(), title="educational value", unit="score"),
        "dropped_by_source": stacked_bars(by_source, title="dropped by source and reason", unit="documents"),
        "preview_kept": _texts_preview(workspace, best, "educational_value"),
        "preview_dropped": _texts_preview(workspace, lowest, "drop_detail"),
        "dagster/column_schema": md.column_schema(table, SCORE_COLUMNS),
    }


def _texts_preview(workspace: Workspace, chosen: pl.DataFrame, note: str) -> dg.MarkdownMetadataValue:
    texts = pl.concat([t.scan().select("document_id", "source_row", "text") for t in document_tables(workspace)])
    shown = chosen.lazy().join(texts, on="document_id", how="left", maintain_order="left").collect()
    return md.document_preview(shown, note=note)
