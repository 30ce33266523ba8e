"""Classifier, signals and scores: the educational value of every document, and its reason to be dropped."""

from dataclasses import asdict, replace
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.annotators.hub_encoder import open_encoder
from codeft_assets.base.files import write_atomically
from codeft_assets.curation.quality.classifier import fit_classifier, serialize_classifier
from codeft_assets.curation.quality.classifier_report import ClassifierReport, GroupReport, evaluate_classifier
from codeft_assets.curation.quality.rankers import FITTERS
from codeft_assets.curation.quality.thresholds import Threshold, parse_threshold
from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.assets.annotations import annotations
from codeft_assets.defs.automation.rules import on_documents_change, on_stage_change
from codeft_assets.defs.launchpad import choice
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage, upstream_failure
from codeft_assets.defs.settings import Seed, Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.plots import bar_plot, histogram, line_plot, stacked_bars
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins.errors import UpstreamError
from codeft_assets.sources import SOURCES
from codeft_assets.stages.quality import (
    CLASSIFIER_VERSION,
    SCORE_COLUMNS,
    SIGNAL_COLUMNS,
    decide_documents,
    labeled,
    load_classifier,
    measure_documents,
    minimum_values,
    scores_stage,
    scores_units,
    signals_stage,
    signals_units,
)
from codeft_assets.store.manifest import combined_hash
from codeft_assets.store.tables import Table

CLASSIFIER_FILE = "classifier.skops"
ALL_SOURCES = "*"


ClassifierKind: Any = choice("ClassifierKind", sorted(FITTERS))


class ClassifierConfig(Settings):
    """Kind, encoder and seed of the classifier."""

    kind: ClassifierKind = Field(  # type: ignore[valid-type]
        default=ClassifierKind("forest"),
        description="A forest on signals and an embedding (phi-1), or a linear model of hashed words and word pairs "
        "(fastText)",
    )
    encoder: str = Field(
        default="",
        description="Hub id or folder of a code model whose mean hidden states the forest reads instead of the "
        "built-in embedding, for example Qwen/Qwen2.5-Coder-0.5B; wants a GPU. Empty: built in, no download",
    )
    encoder_tokens: int = Field(default=512, ge=1, description="Tokens of a document that the encoder reads")
    seed: Seed = Field(default=1, description="Seed of the classifier and of the built-in embedding")


@dg.asset(
    key=["quality", "classifier"],
    deps=[annotations],
    group_name="quality",
    kinds={"scikitlearn"},
    owners=OWNERS,
    code_version=CLASSIFIER_VERSION,
)
def classifier(
    context: dg.AssetExecutionContext, config: ClassifierConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """The classifier that predicts the educational value of a document, as in phi-1 (arXiv 2306.11644).

    By default a random forest that reads forty signals of the text and a hashed n-gram embedding fitted on the labeled
    documents. It is measured on labels it has not seen, and stored as a skops archive: loading it cannot run code.
    """
    table = workspace.store.table("quality/annotations")
    training, held_out = (labeled(table, held_out=side) for side in (False, True))
    try:
        encoder = open_encoder(config.encoder, max_tokens=config.encoder_tokens) if config.encoder else None
    except UpstreamError as error:
        raise upstream_failure(error, context) from error
    fitted = fit_classifier(training, seed=config.seed, kind=config.kind.value, embedding=encoder)
    choices = (config.kind.value, str(config.seed), repr(encoder.state()) if encoder else "built in")
    # the archive holds time stamps; its version covers all that decides the weights: labels, choices and code
    version = combined_hash((table.manifest().content_hash, *choices, CLASSIFIER_VERSION))
    content = serialize_classifier(replace(fitted, version=version))
    path = workspace.store.folder("quality/classifier") / CLASSIFIER_FILE
    write_atomically(path, content)
    workspace.store.publish()
    card = evaluate_classifier(fitted, held_out)
    measured = {"AUC": card.auc, "Spearman": card.spearman}
    figures = ", ".join(f"{name} {value:.3f}" for name, value in measured.items() if value is not None)
    context.log.info(f"{config.kind.value}: {figures or 'not measured'} on {card.num_held_out} held-out labels")
    return dg.MaterializeResult(
        metadata=md.in_reading_order(
            {
                "kind": config.kind.value,
                **_card(card),
                "path": dg.MetadataValue.path(str(path)),
                "size_bytes": len(content),
            }
        ),
        data_version=dg.DataVersion(version),
    )


def _card(card: ClassifierReport) -> dict[str, Any]:
    calibration = [(bin_.mean_value, bin_.good_fraction) for bin_ in card.calibration]
    disagreements = [tuple(asdict(found).values()) for found in card.worst_disagreements]
    measured = {"auc": card.auc, "spearman": card.spearman, "calibration_error": card.calibration_error}
    features = dict(card.top_features)
    return {
        **{name: round(value, 4) for name, value in measured.items() if value is not None},
        "num_trained": card.num_trained,
        "num_held_out": card.num_held_out,
        "num_left_out": card.num_left_out,
        "by_language": _groups("language", card.by_language),
        "by_origin": _groups("origin", card.by_origin),
        **({"top_features": bar_plot(features, title="feature importance", unit="importance")} if features else {}),
        "calibration": line_plot(
            {"classifier": calibration, "perfect": [(0.0, 0.0), (1.0, 1.0)]},
            title="calibration on held-out labels",
            x_label="predicted educational value",
            y_label="share labeled 3 or more",
        ),
        "disagreements": md.markdown_table(
            ("document", "label", "educational value", "what the label says", "it begins"), disagreements
        ),
    }


def _groups(name: str, groups: dict[str, GroupReport]) -> dg.MarkdownMetadataValue:
    rows = [
        (group, *("too few" if value is None else value for value in asdict(found).values()))
        for group, found in sorted(groups.items(), key=lambda item: -item[1].num_documents)
    ]
    return md.markdown_table((name, "documents", "labeled 3 or more", "mean value", "AUC", "Spearman"), rows)


@dg.asset(
    key=["quality", "signals"],
    deps=[*document_keys(), classifier],
    group_name="quality",
    kinds={"parquet", "numba"},
    owners=OWNERS,
    code_version=signals_stage().code_version,
    automation_condition=on_documents_change(),
)
def signals(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row measures a document: forty signals of its text, and its educational value by the classifier.

    This is the only reading of the text that quality does. What is dropped is decided in quality/scores from these
    numbers, so that a threshold or a rule can be changed without reading a text again.
    """
    place = workspace.store.place("quality/classifier", CLASSIFIER_FILE)
    version = load_classifier(place).version
    units = signals_units(document_tables(workspace), place, version)
    try:
        table, run = run_stage(context, workspace, measure_documents, units, signals_stage())
    except UpstreamError as error:
        raise upstream_failure(error, context) from error
    values = (part["educational_value"] for part in table.read_parts(["educational_value"]))
    num_bytes = sum(int(part["num_bytes"].cast(pl.Int64).sum()) for part in table.read_parts(["num_bytes"]))
    return result(
        table,
        run,
        {
            "num_megabytes": round(num_bytes / 1e6, 3),
            "educational_value": histogram(values, title="educational value", unit="score"),
            "dagster/column_schema": md.column_schema(table, SIGNAL_COLUMNS),
        },
    )


OPENCODER = "quality/opencoder"


class ScoresConfig(Settings):
    """The bar a document must reach."""

    thresholds: dict[str, str] = Field(
        default={},
        description="By source (* for all others): a minimum such as 0.3, a share of its lowest documents to drop such "
        "as 20%, or none. Left out: the catalogue's. Another threshold reads no text",
    )
    opencoder_rules: bool = Field(
        default=False,
        description="Judge code by OpenCoder's rules in place of ours: the asset quality/opencoder, which "
        "CODEFT_PARTS=opencoder adds, must have been materialized",
    )

    def check(self, workspace: Workspace) -> None:
        """Check that there is each source, and that its threshold can be read.

        Raises:
            ValueError: one is not, or cannot.
        """
        self.chosen()

    def chosen(self) -> dict[str, Threshold]:
        """Return the threshold of every source.

        Raises:
            ValueError: a source that is not in the catalogue, or an unreadable threshold.
        """
        unknown = sorted(set(self.thresholds) - {*SOURCES, ALL_SOURCES})
        if unknown:
            raise ValueError(f"thresholds for {unknown}, which are not in the catalogue; it has {sorted(SOURCES)}")
        chosen = {name: self.thresholds.get(name, self.thresholds.get(ALL_SOURCES)) for name in SOURCES}
        return {name: parse_threshold(text) if text else SOURCES[name].threshold for name, text in chosen.items()}


@dg.asset(
    key=["quality", "scores"],
    deps=[signals],
    group_name="quality",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=scores_stage().code_version,
    automation_condition=on_stage_change(),
)
def scores(context: dg.AssetExecutionContext, config: ScoresConfig, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a document's educational value, its source's minimum, and the reason why quality would drop it.

    Prose in a natural language that its source does not keep goes first. Rules are published bounds (Gopher, C4,
    FineWeb, StarCoder, OpenCoder) that apply by format, domain and language; rules for prose never judge code.
    Thresholds are by source: a minimum, or a share of its lowest documents. Nothing is deleted here: the ledger
    decides. Look at the check keeps_enough_of_every_source before you go on.
    """
    wanted, measured = config.chosen(), workspace.store.table("quality/signals")
    languages = {name: source.natural_languages for name, source in SOURCES.items()}
    verdicts = workspace.store.table(OPENCODER) if config.opencoder_rules else None
    units = scores_units(measured, minimum_values(measured, wanted), languages, verdicts)
    table, run = run_stage(context, workspace, decide_documents, units, scores_stage())
    return result(table, run, _scores_metadata(table, wanted))


def _scores_metadata(table: Table, wanted: dict[str, Threshold]) -> dict[str, Any]:
    by = ["source", "drop_reason", "minimum_educational_value"]
    counted = sum_by((part.with_columns(documents=1) for part in table.read_parts(by)), *by)
    dropped = counted.drop_nulls("drop_reason")
    by_source: dict[str, dict[str, float]] = {}
    for source, reason, count in dropped.group_by(by[:2]).agg(pl.col("documents").sum()).sort(by[:2]).iter_rows():
        by_source.setdefault(source, {})[reason] = count
    minimum = dict(counted.group_by("source").agg(pl.col("minimum_educational_value").max()).iter_rows())
    num_dropped, num_all = (int(found["documents"].sum()) for found in (dropped, counted))
    rows = [(name, str(threshold), minimum.get(name)) for name, threshold in sorted(wanted.items())]
    one_of_each = _one_of_each(table)
    return {
        "kept_fraction": round(1 - num_dropped / max(num_all, 1), 4),
        "thresholds": md.markdown_table(("source", "threshold", "educational value to reach (in Python)"), rows),
        "dropped_by_source": stacked_bars(by_source, title="dropped by source and reason", unit="documents"),
        "one_per_reason": md.markdown_table(
            ("reason", "detail", "source"), one_of_each.select("drop_reason", "drop_detail", "source").iter_rows()
        ),
        "dagster/column_schema": md.column_schema(table, SCORE_COLUMNS),
    }


def _one_of_each(table: Table) -> pl.DataFrame:
    """Return the first document of each drop reason."""
    found = pl.DataFrame()
    for part in table.read_parts(["drop_reason", "drop_detail", "source"]):
        both = pl.concat([found, part.drop_nulls("drop_reason")]) if found.width else part.drop_nulls("drop_reason")
        found = both.unique("drop_reason", keep="first", maintain_order=True)
    return found.sort("drop_reason")
