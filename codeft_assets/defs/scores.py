"""Scores and the scoreboard: made by ``codeft_eval`` in a process of its own."""

import sys

import dagster as dg
from pydantic import Field

from codeft_assets.catalog import write_catalog
from codeft_assets.defs.automation import on_schedule
from codeft_assets.defs.model import checkpoint
from codeft_assets.defs.shell import GPU_POOL, OWNERS, program_result
from codeft_assets.defs.workspace import Workspace
from codeft_eval.benchmarks import BENCHMARKS, Benchmark, is_available

PRESENT = [benchmark for benchmark in BENCHMARKS.values() if is_available(benchmark)]
"""Benchmarks whose data is here: the embedded one, and others whose files are in the folder CODEFT_BENCHMARKS."""


def score_key(benchmark: Benchmark) -> dg.AssetKey:
    """Return the key of a benchmark's scores."""
    return dg.AssetKey(["scores", benchmark.name])


class ScoreConfig(dg.Config):
    """How many items to score."""

    limit: int = Field(default=0, ge=0, description="Only the first items, for a quick look. 0: all")


def build_score_asset(benchmark: Benchmark) -> dg.AssetsDefinition:
    """Return the scores asset of one benchmark."""

    @dg.asset(
        key=score_key(benchmark),
        deps=[checkpoint],
        group_name="scores",
        kinds={"pytorch"},
        owners=OWNERS,
        pool=GPU_POOL,
        code_version=f"{benchmark.name}-{benchmark.version}",
        automation_condition=on_schedule(),
        description=f"{benchmark.title}: one row is an item with the model's completion and its verdict.\n\n"
        f"{benchmark.protocol}. Programs run in a sandbox and are judged outside of it; items that could not be scored "
        f"are counted apart, never as zero.",
    )
    def scores(
        context: dg.AssetExecutionContext,
        config: ScoreConfig,
        workspace: Workspace,
        pipes: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult:
        store = workspace.store
        command = [sys.executable, "-m", "codeft_eval", "run", "--benchmark", benchmark.name]
        command += ["--checkpoint", str(store.folder("model/checkpoint") / "checkpoint")]
        command += ["--output", str(store.folder(f"scores/{benchmark.name}"))]
        command += ["--limit", str(config.limit)] if config.limit else []
        return program_result(context, pipes, command)

    return scores


@dg.asset(key=["scores", "reference"], group_name="scores", kinds={"csv"}, owners=OWNERS, code_version="1")
def reference(
    context: dg.AssetExecutionContext, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Published scores of Qwen 2.5 and other small models, each with its source and protocol."""
    command = [sys.executable, "-m", "codeft_eval", "reference"]
    command += ["--output", str(workspace.store.folder("scores/reference"))]
    return program_result(context, pipes, command)


@dg.asset(
    key=["scoreboard"],
    deps=[*(score_key(benchmark) for benchmark in PRESENT), reference],
    group_name="scores",
    kinds={"python"},
    owners=OWNERS,
    code_version="1",
    automation_condition=on_schedule(),
)
def scoreboard(
    context: dg.AssetExecutionContext, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Our scores beside Qwen 2.5's: each with its interval, its protocol and where the reference comes from.

    A published figure is marked as such and never mixed with one that this harness measured.
    """
    store = workspace.store
    command = [sys.executable, "-m", "codeft_eval", "scoreboard", "--output", str(store.folder("scoreboard"))]
    command += ["--scores", *(str(store.folder(f"scores/{benchmark.name}")) for benchmark in PRESENT)]
    result = program_result(context, pipes, command)
    write_catalog(store)
    return result


SCORE_ASSETS = [build_score_asset(benchmark) for benchmark in PRESENT]
