"""The ledger, the mixture and the packed rows: which documents train, and how the model reads them."""

import dataclasses
import json
import sys
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.curation.corpus.ledger import KEPT, LEDGER_COLUMNS, TALLIED, tally_outcomes
from codeft_assets.curation.corpus.mixture import TRAIN, VALIDATION
from codeft_assets.curation.documents import CHARS_PER_TOKEN
from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.assets.decontamination import matches
from codeft_assets.defs.assets.dedup import clusters
from codeft_assets.defs.assets.mixture_plan import deduplicated, mixture_plan
from codeft_assets.defs.assets.quality import scores
from codeft_assets.defs.automation.rules import on_schedule, on_stage_change
from codeft_assets.defs.launchpad import FormatName, choice
from codeft_assets.defs.run_stage import OWNERS, document_keys, document_tables, program_result, result, run_stage
from codeft_assets.defs.settings import RecipeSettings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.plots import bar_plot, stacked_bars
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.corpus import (
    collect_mixture,
    decide_outcomes,
    ledger_stage,
    ledger_units,
    mixture_stage,
    mixture_units,
)
from codeft_assets.stages.plan import IS_SELECTED, PlanTables
from codeft_assets.stages.yields import SourceYield, source_yields
from codeft_assets.store.catalog import ROW_COUNTS_SQL, write_catalog
from codeft_assets.store.tables import Table
from codeft_training.data.conversations import LONG_CONVERSATION_POLICIES


@dg.asset(
    key=["corpus", "ledger"],
    deps=[*document_keys(), scores, matches, clusters, mixture_plan],
    group_name="corpus",
    kinds={"parquet", "duckdb"},
    owners=OWNERS,
    code_version=ledger_stage().code_version,
    automation_condition=on_stage_change(),
)
def ledger(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is the outcome of a document: kept, with its epochs, or the one reason for which it was left out.

    The first stage that objects decides: quality, decontamination, deduplication, the selection of instruct documents
    where the plan follows it, then the plan's token budget. Kept
    and dropped add up to the documents that came in, per source and in total.
    """
    plan = PlanTables.of(workspace.store)
    documents = deduplicated(workspace, is_selected=IS_SELECTED in plan.plan.manifest().parameters)
    units = ledger_units(documents, plan)
    table, run = run_stage(context, workspace, decide_outcomes, units, ledger_stage())
    write_catalog(workspace.store)
    tally = tally_outcomes(table.read_parts(TALLIED))
    schema = {"dagster/column_schema": md.column_schema(table, LEDGER_COLUMNS)}
    return result(table, run, _ledger_metadata(tally) | _yields(tally, documents.inputs.documents) | schema)


def _yields(tally: pl.DataFrame, document_tables: list[Table]) -> dict[str, Any]:
    reports = {documents.key.removeprefix("documents/"): documents.manifest().report for documents in document_tables}
    yields = source_yields(tally, reports)
    first = ["source", "made", "kept", "tokens_per_minute"]  # what a narrow page has room for
    header = [*first, *(field.name for field in dataclasses.fields(SourceYield) if field.name not in first)]
    rows = ([getattr(found, name) for name in header] for found in yields)
    return {"yield_by_source": md.markdown_table([name.replace("_", " ") for name in header], rows)}


def _ledger_metadata(tally: pl.DataFrame) -> dict[str, Any]:
    by_stage = pl.when(pl.col("fate") == KEPT).then(pl.lit(KEPT)).otherwise("dropped by " + pl.col("stage"))
    stages, reasons = _counts(tally, by_stage), _counts(tally, pl.col("fate"))
    drops = {name: {outcome: n for outcome, n in row.items() if outcome != KEPT} for name, row in reasons.items()}
    dropped = tally.filter(pl.col("fate") != KEPT).unique("fate", keep="first", maintain_order=True).sort("fate")
    num_kept = int(tally.filter(pl.col("fate") == KEPT)["documents"].sum())
    return {
        "kept_fraction": round(num_kept / int(tally["documents"].sum()), 4),
        "fates": stacked_bars(_shares(stages, stages), title="outcome of every document by source", unit="share"),
        "dropped_by_source": stacked_bars(
            _shares(drops, stages), title="dropped documents by source and reason", unit="share"
        ),
        "accounts": md.markdown_table(
            ("source", "in", "kept", "dropped by reason"),
            ((name, *_row_counts(reasons[name], drops[name])) for name in reasons),
        ),
        "one_per_reason": md.markdown_table(
            ("reason", "detail", "source", "row"), dropped.select("fate", "detail", "source", "source_row").iter_rows()
        ),
        "sql": dg.MetadataValue.md(f"```sql\n{ROW_COUNTS_SQL.strip()}\n```"),
    }


def _counts(tally: pl.DataFrame, column: pl.Expr) -> dict[str, dict[str, int]]:
    """Return source -> value of ``column`` -> documents."""
    rows: dict[str, dict[str, int]] = {}
    by = ["source", column.alias("value")]
    counted = tally.group_by(by).agg(pl.col("documents").sum()).sort("source", "value")
    for source, name, count in counted.iter_rows():
        rows.setdefault(source, {})[name] = count
    return rows


def _shares(rows: dict[str, dict[str, int]], all_documents: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    return {
        name: {part: n / sum(all_documents[name].values()) for part, n in row.items()} for name, row in rows.items()
    }


def _row_counts(outcomes: dict[str, int], drops: dict[str, int]) -> tuple[int, int, str]:
    ordered = sorted(drops.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{reason} {n:,}" for reason, n in ordered)
    return sum(outcomes.values()), outcomes.get(KEPT, 0), named


@dg.asset(
    key=["corpus", "mixture"],
    deps=[*document_keys(), ledger],
    group_name="corpus",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=mixture_stage().code_version,
    automation_condition=on_stage_change(),
)
def mixture(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row is a document of the corpus: its text with keys and addresses replaced, its split and its epochs.

    This is the only place where text is written after the sources. Validation documents are never trained on.
    """
    units = mixture_units(document_tables(workspace), PlanTables.of(workspace.store).plan)
    table, run = run_stage(context, workspace, collect_mixture, units, mixture_stage())
    write_catalog(workspace.store)
    return result(table, run, _mixture_metadata(table))


def _mixture_metadata(table: Table) -> dict[str, Any]:
    counted = sum_by((_counted(part) for part in table.read_parts(_COUNTED)), *_COUNTED[:4])
    training = counted.filter(pl.col("split") == TRAIN)
    by_source = sum_by([training.drop("language", "split")], "domain", "source").sort("domain", "source")
    redacted = sum_by(map(_redacted, table.read_parts(["redacted"])), "kind").sort("kind")

    def shares(column: str) -> dict[str, float]:
        totals = training.group_by(column).agg(pl.col("tokens").sum()).sort(column)
        return {name: round(tokens) for name, tokens in totals.iter_rows()}

    rows = (
        (
            row["domain"],
            row["source"],
            round(row["tokens"]),
            row["documents"],
            round(row["epochs"] / row["documents"], 2),
        )
        for row in by_source.to_dicts()
    )
    validation = counted.filter(pl.col("split") == VALIDATION)
    previewed = table.scan().filter(pl.col("split") == TRAIN).select("source", "source_row", "text").head(2)
    return {
        "num_tokens_estimated": sum(map(int, shares("domain").values())),
        "num_validation": int(validation["documents"].sum()),
        "redacted": md.markdown_table(("kind", "replaced"), redacted.iter_rows()),
        "num_redacted": int(counted["num_redacted"].sum()),
        "languages": bar_plot(shares("language"), title="training tokens by language", unit="tokens, estimated"),
        "domains": bar_plot(shares("domain"), title="training tokens by domain", unit="tokens, estimated"),
        "by_source": md.markdown_table(("domain", "source", "tokens, estimated", "documents", "epochs"), rows),
        "preview": md.document_preview(previewed.collect()),
        "dagster/column_schema": md.column_schema(table, LEDGER_COLUMNS | _MIXTURE_COLUMNS),
    }


_COUNTED = ["domain", "source", "language", "split", "epochs", "num_redacted", "text"]


def _counted(part: pl.DataFrame) -> pl.DataFrame:
    tokens = pl.col("text").str.len_chars() / CHARS_PER_TOKEN * pl.col("epochs")
    return part.select(*_COUNTED[:6], tokens=tokens, documents=1)


def _redacted(part: pl.DataFrame) -> pl.DataFrame:
    return part.select(kind=pl.col("redacted").explode()).drop_nulls().with_columns(count=1)


_MIXTURE_COLUMNS = {
    "num_redacted": "keys, mail addresses and IP addresses replaced by placeholders",
    "redacted": "the kind of each: aws_key, email, github_token, ip_address, jwt, private_key, secret",
}


LongConversations: Any = choice("LongConversations", LONG_CONVERSATION_POLICIES)


class PackedConfig(RecipeSettings):
    """The recipe whose length of a row is used, and the order of text within documents."""

    sources: list[str] = Field(default_factory=list, description="Only documents of these sources. Empty: all")
    formats: list[FormatName] = Field(  # type: ignore[valid-type]
        default_factory=list, description="Only documents of these formats. Empty: all"
    )
    languages: list[str] = Field(default_factory=list, description="Only documents in these languages. Empty: all")
    fim_rate: float = Field(
        default=0.0, ge=0, le=1, description="Share of plain code that is reordered, to learn filling in the middle"
    )
    long_conversations: LongConversations = Field(  # type: ignore[valid-type]
        default=LongConversations("split"),
        description="Conversations longer than a row: split, the question repeated; cut after the first row; or drop",
    )

    def check(self, workspace: Workspace) -> None:
        """Check the recipe, and that there is each source.

        Raises:
            ValueError: the recipe cannot be made, or a source is not in the catalogue.
        """
        super().check(workspace)
        if unknown := sorted(set(self.sources) - set(SOURCES)):
            raise ValueError(f"sources {unknown} are not in the catalogue; it has {sorted(SOURCES)}")


@dg.asset(
    key=["corpus", "packed"],
    deps=[mixture, dg.AssetKey(["model", "tokenizer"])],
    group_name="corpus",
    kinds={"numpy"},
    owners=OWNERS,
    code_version=code_version_of("codeft_training.commands:pack"),
    automation_condition=on_schedule(),
)
def packed(
    context: dg.AssetExecutionContext,
    config: PackedConfig,
    workspace: Workspace,
    pipes: dg.PipesSubprocessClient,
) -> dg.MaterializeResult:
    """One row is a sequence of tokens the model reads at once: pieces of documents, every token of plain text kept.

    Plain text is split, never cropped; a conversation stays in one row, and a longer one keeps the question before each
    answer. Loss is taken on all text of plain documents and on the assistant's turns of conversations, on thoughts as
    each source's entry in the catalogue says. An index says which documents each row holds; rows of the annealing phase
    are the last.
    """
    store = workspace.store
    command = [sys.executable, "-m", "codeft_training", "pack", "--corpus", str(store.local_table("corpus/mixture"))]
    command += ["--tokenizer", str(store.folder("model/tokenizer")), "--output", str(packed_folder(workspace))]
    recipe = workspace.chosen_recipe(config.recipe.value, config.overrides.texts())
    command += ["--recipe-json", json.dumps(recipe.record())]
    command += ["--fim-rate", str(config.fim_rate), "--long-conversations", config.long_conversations.value]
    for name in ("sources", "formats", "languages"):
        if chosen := config.model_dump(mode="json")[name]:
            command += [f"--{name}", *chosen]
    policies = {name: source.think_spans for name, source in SOURCES.items() if source.think_spans != "train"}
    command += [part for name, policy in sorted(policies.items()) for part in ("--thoughts", f"{name}={policy}")]
    return program_result(context, pipes, command)


def packed_folder(workspace: Workspace) -> Any:
    """Return the folder of the packed rows."""
    return workspace.store.folder("corpus/packed") / "rows"
