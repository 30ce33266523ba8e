"""The plan of the mixture, for review and changes before anything is trained."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.curation.corpus.mixture import (
    MIXTURE,
    PLAN_COLUMNS,
    TALLIED,
    Mixture,
    summarize,
    tally_plan,
    target_tokens,
)
from codeft_assets.curation.corpus.searched import adopt_shares
from codeft_assets.curation.documents import FORMATS
from codeft_assets.defs.assets.decontamination import matches
from codeft_assets.defs.assets.dedup import cluster_inputs, clusters
from codeft_assets.defs.assets.quality import scores
from codeft_assets.defs.automation.rules import on_stage_change
from codeft_assets.defs.launchpad import FormatName
from codeft_assets.defs.run_stage import OWNERS, document_keys, result, run_steps
from codeft_assets.defs.settings import Seed, Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.web_ui.plots import stacked_bars
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages.dedup import DedupTables
from codeft_assets.stages.plan import Deduplicated, PlanTables, planning_steps, planning_version

WEIGHTS = {name: source.weight for name, source in SOURCES.items()}
SAMPLE_TOKEN_BUDGET = 1_800_000
"""About as many tokens as the smoke recipe reads once: its small vocabulary makes 2.5 million of them."""
SELECTION, SEARCH = "selection/instructions", "corpus/mixture_search"
DOMAIN_BY_SOURCE = {name: source.domain for name, source in SOURCES.items()}


class MixtureConfig(Settings):
    """Token budget, shares of the domains, epochs and annealing."""

    token_budget: int = Field(
        default=0,
        ge=0,
        description="Training tokens wanted, repetitions counted. 0: every document once (1.8 million on the sample)",
    )
    code_share: float = Field(default=MIXTURE.domain_shares["code"], ge=0, le=1, description="Share of code tokens")
    math_share: float = Field(default=MIXTURE.domain_shares["math"], ge=0, le=1, description="Share of math tokens")
    max_epochs: int = Field(default=MIXTURE.max_epochs, ge=1, description="How often a document is read at most")
    annealing_share: float = Field(
        default=MIXTURE.annealing_share, ge=0, lt=1, description="Share of the tokens read last. 0: one phase"
    )
    annealing_formats: list[FormatName] = Field(  # type: ignore[valid-type]
        default=list(MIXTURE.annealing_formats), description=f"What is read last: among {FORMATS}"
    )
    validation_fraction: float = Field(
        default=MIXTURE.validation_fraction, ge=0, lt=0.5, description="Share of each source's documents held out"
    )
    seed: Seed = Field(default=MIXTURE.seed, description="Seed of the draw")
    selected_instructions: bool = Field(
        default=False,
        description="Read only the instruct documents that selection/instructions selected (CODEFT_PARTS=selection)",
    )
    searched_mixture: bool = Field(
        default=False,
        description="Take shares and weights from corpus/mixture_search (CODEFT_PARTS=mixture_search); needs a budget",
    )

    def mixture(self, *, is_sample: bool) -> Mixture:
        """Return the configured mixture."""
        shares = {"code": self.code_share, "math": self.math_share}
        return Mixture(
            domain_shares={**shares, "reasoning": 1 - sum(shares.values())},
            token_budget=self.token_budget or (SAMPLE_TOKEN_BUDGET if is_sample else None),
            max_epochs=self.max_epochs,
            annealing_share=self.annealing_share,
            annealing_formats=tuple(map(str, self.annealing_formats)),
            validation_fraction=self.validation_fraction,
            seed=self.seed,
        )

    def check(self, workspace: Workspace) -> None:
        """Check that the mixture can be made.

        Raises:
            ValueError: it cannot.
        """
        self.mixture(is_sample=workspace.is_sample)


def adopted(plan: Mixture, workspace: Workspace) -> tuple[Mixture, dict[str, float]]:
    """Return the plan with the shares that the mixture search found, and the weights of the sources.

    Raises:
        ValueError: nothing was searched, or the plan has no budget to choose by.
    """
    path = workspace.store.folder(SEARCH) / "search.json"
    if plan.token_budget is None or not path.is_file():
        problem = "needs a token_budget" if path.is_file() else f"needs {SEARCH}; set CODEFT_PARTS=mixture_search"
        raise ValueError(f"searched_mixture: the plan {problem}, or leave it out")
    shares, weights = adopt_shares(json.loads(path.read_text())["shares"], DOMAIN_BY_SOURCE)
    return replace(plan, domain_shares=shares), weights


@dg.asset(
    key=["corpus", "mixture_plan"],
    deps=[*document_keys(), scores, matches, clusters],
    group_name="corpus",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=planning_version(),
    automation_condition=on_stage_change(),
)
def mixture_plan(
    context: dg.AssetExecutionContext, config: MixtureConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """One row is a document that passed every stage: its split, and how often training will read it.

    Look at it before training: the tables show the tokens wanted by the shares, available, read and repeated, by
    domain, source, language and format. No document is read more than four times by default, and near duplicates are on
    the same side of the split. The corpus holds exactly the documents planned here.
    """
    plan, weights = config.mixture(is_sample=workspace.is_sample), WEIGHTS
    if config.searched_mixture:
        plan, weights = adopted(plan, workspace)
    documents = deduplicated(workspace, is_selected=config.selected_instructions)
    steps = planning_steps(documents, PlanTables.of(workspace.store), plan, weights)
    table, run = run_steps(context, workspace, steps)
    tally = tally_plan(table.read_parts(TALLIED))
    return result(table, run, plan_metadata(tally, plan, weights) | {"dagster/column_schema": _schema(table)})


def deduplicated(workspace: Workspace, *, is_selected: bool) -> Deduplicated:
    """Return what planning reads.

    Raises:
        ValueError: there is no selection to follow.
    """
    selection = workspace.store.table(SELECTION) if is_selected else None
    if selection and not selection.exists():
        raise ValueError(f"selected_instructions: {SELECTION} is not there; set CODEFT_PARTS=selection and make it")
    tables = DedupTables.of(workspace.store)
    return Deduplicated(inputs=cluster_inputs(workspace), tables=tables, selection=selection)


def _schema(table: Any) -> dg.TableSchema:
    return md.column_schema(table, PLAN_COLUMNS)


def plan_metadata(tally: pl.DataFrame, plan: Mixture, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return a plan's totals, its tables by domain, source, language and format, and the plot."""
    totals = (
        summarize(tally, "domain").select("available", "read", "repeated", "annealing", "held_out").sum().to_dicts()
    )
    by_source = summarize(tally, "source")
    parts = {
        row["source"]: {
            "read for the first time": row["read"] - row["repeated"],
            "repeated": row["repeated"],
            "left over": max(row["available"] - (row["read"] - row["repeated"]), 0),
        }
        for row in by_source.sort("read", descending=True).iter_rows(named=True)
    }
    return {
        "num_tokens_wanted": sum(target_tokens(tally, "domain", weights, plan).values()),
        **{f"num_tokens_{name}": int(value or 0) for name, value in totals[0].items()},
        **{
            f"by_{by}": _table(summarize(tally, by), by, target_tokens(tally, by, weights, plan))
            for by in ("domain", "source")
        },
        **{f"by_{by}": _table(summarize(tally, by), by, {}) for by in ("language", "format")},
        "plan": stacked_bars(parts, title="training tokens by source", unit="tokens, estimated"),
    }


def _table(summary: pl.DataFrame, by: str, wanted: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    names = [name for name in summary.columns if name not in {by, "documents", "share"}]
    header = [by, "documents", *(["wanted"] if wanted else []), *names, "share of the reading"]
    rows = [
        [
            row[by],
            row["documents"],
            *([wanted.get(row[by], 0)] if wanted else []),
            *(int(row[name]) for name in names),
            f"{row['share']:.1%}",
        ]
        for row in summary.sort("read", descending=True).iter_rows(named=True)
    ]
    return md.markdown_table([name.replace("_", " ") for name in header], rows)
