"""One asset per source: its rows as documents."""

import dagster as dg
from pydantic import Field

from codeft_assets.curation.documents import CHARS_PER_TOKEN
from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.assets.upstream import observation, upstream_key
from codeft_assets.defs.automation.rules import on_source_change
from codeft_assets.defs.failures import ExplainedError
from codeft_assets.defs.run_stage import NETWORK_POOL, OWNERS, result, run_stage, upstream_failure
from codeft_assets.defs.settings import Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.plots import bar_plot
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins import Upstream
from codeft_assets.origins.errors import UpstreamError
from codeft_assets.source import Source
from codeft_assets.sources import SOURCES
from codeft_assets.stages.documents import documents_stage, file_units, number_repeats, reader
from codeft_assets.store.engine import StageRun
from codeft_assets.store.manifest import Manifest
from codeft_assets.store.tables import Table

SAMPLE_MAX_BAD_FRACTION = 0.4
"""The samples hold bad rows on purpose."""
FULL_MAX_BAD_FRACTION = 0.05


class SourceConfig(Settings):
    """Limits on the rows that are read and on the bad rows among them."""

    max_rows: int = Field(
        default=0,
        ge=0,
        description="Rows to read, exactly, spread evenly over the files. 0: the catalogue's limit",
    )
    max_bad_fraction: float = Field(
        default=-1.0,
        le=1.0,
        description="Fail if more than this share of rows cannot become documents. Negative: the "
        "catalogue's, else 0.05 (0.4 on the sample)",
    )


def build_documents_asset(source: Source) -> dg.AssetsDefinition:
    """Return the documents asset of one source."""

    @dg.asset(
        key=["documents", source.name],
        deps=[upstream_key(source.name)],
        group_name="sources",
        kinds={"parquet", "huggingface" if source.homepage.startswith("https://huggingface.co") else "python"},
        owners=OWNERS,
        pool=NETWORK_POOL,
        code_version=documents_stage(source, None).code_version,
        automation_condition=on_source_change(),
        tags={"domain": source.domain, "format": source.format},
        description=_description(source),
    )
    def documents(
        context: dg.AssetExecutionContext, config: SourceConfig, workspace: Workspace
    ) -> dg.MaterializeResult:
        try:
            upstream = workspace.origin(source).resolve()
            context.log_event(observation(source, upstream))
            table, run = _ingest(context, config, workspace, source, upstream)
        except UpstreamError as error:
            raise upstream_failure(error, context) from error
        return result(table, run, _metadata(source, upstream, table))

    return documents


def _description(source: Source) -> str:
    return (
        f"One row is a document: {source.about[0].lower()}{source.about[1:]}\n\n"
        f"Domain {source.domain}, format {source.format}, license {source.license}. Rows that cannot become documents "
        f"are kept with their reason in the table's rejects; rows in = documents + rejects."
    )


def _ingest(
    context: dg.AssetExecutionContext, config: SourceConfig, workspace: Workspace, source: Source, upstream: Upstream
) -> tuple[Table, StageRun]:
    max_rows = config.max_rows or (None if workspace.is_sample else source.max_rows)
    limit = config.max_bad_fraction
    if limit < 0 and source.max_bad_fraction is not None:
        limit = source.max_bad_fraction
    if limit < 0:
        limit = SAMPLE_MAX_BAD_FRACTION if workspace.is_sample else FULL_MAX_BAD_FRACTION

    def accept(manifest: Manifest) -> None:
        check_bad_fraction(source.name, manifest, limit)

    units = file_units(source, workspace.origin(source), upstream, max_rows)
    stage = documents_stage(source, max_rows)
    return run_stage(context, workspace, reader(source), units, stage, accept=accept, settle=number_repeats)


def check_bad_fraction(name: str, manifest: Manifest, limit: float) -> None:
    """Refuse a table with no documents, or with more bad rows than ``limit``.

    Raises:
        dagster.Failure: with the reasons of the bad rows; the table stays unchanged.
    """
    report = manifest.report
    bad_fraction = report.num_dropped / max(report.num_in, 1)
    seen = next((example for examples in report.examples.values() for example in examples), "no row at all")
    if report.num_out == 0:
        raise ExplainedError(
            f"source {name!r}: none of {report.num_in} rows became a document: {dict(report.dropped)}, such as {seen}; "
            f"fix the entry in sources.py, or in a project's sources.toml"
        )
    if bad_fraction > limit:
        raise ExplainedError(
            f"source {name!r}: {bad_fraction:.1%} of {report.num_in} rows are bad, more than {limit:.1%}: "
            f"{dict(report.dropped)}, such as {seen}; mend the rows, fix the entry, or "
            f"raise its max_bad_fraction in sources.py, or in a project's sources.toml",
            metadata={"examples": md.examples_preview(report)},
        )


def _metadata(source: Source, upstream: Upstream, table: Table) -> dict[str, object]:
    by_language = sum_by(table.read_parts(["language", "num_chars"]), "language")
    num_chars = int(by_language["num_chars"].sum())
    return {
        "num_tokens_estimated": round(num_chars / CHARS_PER_TOKEN),
        "num_chars": num_chars,
        "rejected": md.examples_preview(table.manifest().report),
        "preview": md.document_preview(table.scan().select("source", "source_row", "text").head(2).collect()),
        "languages": bar_plot(dict(by_language.iter_rows()), title=f"{source.name}: languages", unit="characters"),
        "revision": upstream.revision,
        **({"note": upstream.note} if upstream.note else {}),
        "license": source.license,
        "homepage": dg.MetadataValue.url(source.homepage),
        "dagster/column_schema": md.column_schema(table, {}),
    }


DOCUMENT_ASSETS = [build_documents_asset(source) for source in SOURCES.values()]
