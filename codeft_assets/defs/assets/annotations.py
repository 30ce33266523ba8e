"""Annotations: documents that a person or a model has judged by reading them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.annotators.annotate import Annotator
from codeft_assets.annotators.calls import Totals, open_journal
from codeft_assets.annotators.endpoint import KEY_VARIABLE, EndpointAnnotator
from codeft_assets.annotators.local_model import LocalModelAnnotator
from codeft_assets.curation.quality.annotation import Agreement, measure_agreement
from codeft_assets.defs.launchpad import choice
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, result, run_stage, upstream_failure
from codeft_assets.defs.settings import Seed, Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.plots import bar_plot
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins.errors import UpstreamError
from codeft_assets.sources import SOURCES
from codeft_assets.stages.annotation import (
    ANNOTATION_COLUMNS,
    AnnotationRequest,
    annotate,
    annotations_stage,
    choose_documents,
    shipped_unit,
)
from codeft_assets.store.engine import Unit
from codeft_assets.store.tables import Table

SHIPPED_ONLY = "shipped"
AnnotatorName: Any = choice("AnnotatorName", (SHIPPED_ONLY, "endpoint", "model"))


class AnnotationsConfig(Settings):
    """The annotator, its endpoint or model, and the sample that it labels."""

    annotator: AnnotatorName = Field(  # type: ignore[valid-type]
        default=AnnotatorName(SHIPPED_ONLY),
        description="shipped: the labels of this repository. endpoint: besides, a model behind an OpenAI-compatible "
        "endpoint. model: besides, a transformers model on this machine",
    )
    model: str = Field(default="", description="The name the endpoint serves, or the local model's Hub id or folder")
    endpoint: str = Field(
        default="http://127.0.0.1:8000/v1",
        description=f"URL of the endpoint, with its version; the key comes from the environment: {KEY_VARIABLE}",
    )
    num_documents: int = Field(
        default=500, ge=1, description="Documents a model judges, spread evenly over sources, languages and lengths"
    )
    repeated_fraction: float = Field(
        default=0.1, ge=0, le=1, description="Share of them read a second time, to measure how far the model agrees"
    )
    max_chars: int = Field(default=8000, ge=200, description="Characters of a document the model reads")
    max_concurrency: int = Field(default=8, ge=1, description="Calls in flight, or prompts a batch of a local model")
    temperature: float = Field(default=0.0, ge=0, description="Of the endpoint's answers; a local model is greedy")
    dollars_per_million_input_tokens: float = Field(default=0.0, ge=0, description="Price, for the cost. 0: unknown")
    dollars_per_million_output_tokens: float = Field(default=0.0, ge=0, description="Price, for the cost. 0: unknown")
    seed: Seed = Field(default=1, description="Seed of the sample")

    def check(self, workspace: Workspace) -> None:
        """Check that there can be such an annotator.

        Raises:
            ValueError: an endpoint or a model is not named, or wrongly.
        """
        if self.annotator.value in ANNOTATORS:
            ANNOTATORS[self.annotator.value](self)


def _endpoint(config: AnnotationsConfig) -> Annotator:
    return EndpointAnnotator(
        url=config.endpoint,
        model=config.model,
        max_concurrency=config.max_concurrency,
        temperature=config.temperature,
    )


def _local_model(config: AnnotationsConfig) -> Annotator:
    if not config.model:
        raise ValueError("annotator 'model' needs model: the Hub id or folder of a causal language model")
    return LocalModelAnnotator(model=config.model, batch_prompts=config.max_concurrency)


ANNOTATORS: dict[str, Callable[[AnnotationsConfig], Annotator]] = {"endpoint": _endpoint, "model": _local_model}


@dg.asset(
    key=["quality", "annotations"],
    deps=document_keys(),
    group_name="quality",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=annotations_stage().code_version,
)
def annotations(
    context: dg.AssetExecutionContext, config: AnnotationsConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """One row is a label: somebody's judgment, 0 to 5, of what a document teaches, with the reason.

    The labels that ship with the project name files of the Python standard library, of pinned dependencies and rows of
    the embedded samples by content hash; one whose document is absent or changed is left out and counted as
    ``not_in_installed_version``: some are, as other releases of Python and of packages have other files, and that is no
    fault. On demand a model labels a sample of your documents too. Every call and answer is kept in a journal: a run
    that is killed pays for nothing twice. A malformed answer is requested once more, then its document is left out by
    name.
    """
    request = _request(config, workspace)
    units = [shipped_unit(tuple(SOURCES.values()))] + ([request.unit()] if request else [])
    before = _totals(request)
    try:
        table, run = _run(context, workspace, units)
    finally:  # the journal holds what was paid for
        workspace.store.publish()
    return result(table, run, _metadata(table) | (_costs(config, request, before) if request else {}))


def _request(config: AnnotationsConfig, workspace: Workspace) -> AnnotationRequest | None:
    if config.annotator.value == SHIPPED_ONLY:
        return None
    tables = document_tables(workspace)
    chosen = choose_documents(tables, config.num_documents, seed=config.seed)
    return AnnotationRequest(
        tables=tuple(tables),
        chosen=chosen,
        num_repeated=round(config.repeated_fraction * chosen.height),
        annotator=ANNOTATORS[config.annotator.value](config),
        max_chars=config.max_chars,
        journal_folder=workspace.store.folder("quality/annotations"),
    )


def _run(context: dg.AssetExecutionContext, workspace: Workspace, units: list[Unit]) -> tuple[Table, Any]:
    one_process = workspace.model_copy(update={"workers": 1})  # a journal has one writer, a local model one GPU
    try:
        return run_stage(context, one_process, annotate, units, annotations_stage())
    except UpstreamError as error:
        raise upstream_failure(error, context) from error


def _totals(request: AnnotationRequest | None) -> Totals | None:
    if request is None:
        return None
    with open_journal(request.journal) as journal:
        return journal.totals()


def _costs(config: AnnotationsConfig, request: AnnotationRequest, before: Totals | None) -> dict[str, Any]:
    """Return the costs of the calls: of this run, and of all runs with this annotator and prompt."""
    after = _totals(request)
    assert before is not None, "there is a request"
    assert after is not None, "there is a request"
    prices = (config.dollars_per_million_input_tokens, config.dollars_per_million_output_tokens)
    dollars = (after.input_tokens * prices[0] + after.output_tokens * prices[1]) / 1e6
    return {
        "num_calls": after.num_calls - before.num_calls,
        "num_calls_all_runs": after.num_calls,
        "num_malformed_answers_all_runs": after.num_malformed,
        "num_failed_calls_all_runs": after.num_failed,
        "num_calls_unanswered_at_a_kill": after.num_unanswered,
        "num_answers_without_usage": after.num_answers_without_usage,
        "input_tokens_all_runs": after.input_tokens,
        "output_tokens_all_runs": after.output_tokens,
        **({"dollars_all_runs": round(dollars, 4)} if any(prices) else {}),
        "annotator": request.annotator.identity,
        "journal": dg.MetadataValue.path(str(Path(request.journal))),
    }


def _metadata(table: Table) -> dict[str, Any]:
    frame = table.read(["name", "origin", "label", "second_label", "reason", "annotator", "is_held_out"])
    counts = {f"label {label}": n for label, n in frame["label"].value_counts().sort("label").iter_rows()}
    shown = frame.drop("second_label").sample(min(12, frame.height), seed=1).sort("label")
    repeated = frame.drop_nulls("second_label").select(pl.col("label", "second_label").cast(pl.Int64))
    return {
        "num_held_out": int(frame["is_held_out"].sum()),
        "labels": bar_plot(counts, title="labels", unit="documents"),
        "preview": md.markdown_table(shown.columns, shown.iter_rows()),
        "left_out": _left_out(table),
        **(
            _agreement(measure_agreement(*(repeated[name].to_numpy() for name in repeated.columns)))
            if len(repeated)
            else {}
        ),
        "dagster/column_schema": md.column_schema(table, ANNOTATION_COLUMNS),
    }


def _left_out(table: Table) -> dg.MarkdownMetadataValue:
    if not table.manifest().rejects:
        return dg.MetadataValue.md("none")
    lost = table.scan(rejects=True).select("annotator", "name", "reason").collect()
    return md.markdown_table(lost.columns, lost.iter_rows())


def _agreement(found: Agreement) -> dict[str, Any]:
    measured = {"agreement": found.same_fraction, "agreement_weighted_kappa": found.weighted_kappa}
    rows = [(row.label, row.num_repeated, row.same_fraction, row.mean_difference) for row in found.by_label]
    return {
        "num_repeated": found.num_repeated,
        **{name: round(value, 4) for name, value in measured.items() if value is not None},
        "agreement_by_label": md.markdown_table(("label", "read twice", "same label", "mean difference"), rows),
    }
