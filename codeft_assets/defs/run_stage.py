"""Run a stage or a program as an asset and report it; keys, pools and owners that all assets share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from codeft_assets.defs.failures import ExplainedError, explained_failures
from codeft_assets.defs.ray_programs import ProgramClient, RayProgramClient
from codeft_assets.defs.web_ui.metadata import LoggedProgress, in_reading_order, table_metadata
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins.errors import UpstreamError
from codeft_assets.sources import SOURCES
from codeft_assets.store.engine import ShardFunction, Stage, StageRun, Step, Unit, map_shards
from codeft_assets.store.manifest import Manifest
from codeft_assets.store.tables import Table

OWNERS = ["team:codeft"]
GPU_POOL = "gpu"
NETWORK_POOL = "network"
MAX_NETWORK_RETRIES = 3
RETRY_WAIT_SECONDS = 30


def document_keys() -> list[dg.AssetKey]:
    """Return the keys of all documents assets."""
    return [dg.AssetKey(["documents", name]) for name in SOURCES]


def document_tables(workspace: Workspace) -> list[Table]:
    """Return the documents tables of all sources by name: moving an entry of the catalogue changes no hash below."""
    return [workspace.store.table(f"documents/{name}") for name in sorted(SOURCES)]


def run_stage(  # noqa: PLR0913  the stage and its callbacks
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    function: ShardFunction,
    units: Sequence[Unit],
    stage: Stage,
    *,
    accept: Callable[[Manifest], None] | None = None,
    settle: Callable[[Table, Manifest], Manifest] | None = None,
) -> tuple[Table, StageRun]:
    """Run the stage of the asset that is being materialized and return its table and the run's costs."""
    table = workspace.store.table("/".join(context.asset_key.path))
    step = Step(function=function, units=units, stage=stage, output=table)
    return table, _run_step(context, workspace, step, accept, settle and partial(settle, table))


def run_steps(context: dg.AssetExecutionContext, workspace: Workspace, steps: Iterator[Step]) -> tuple[Table, StageRun]:
    """Run stages that follow each other; return the table of the last, which is the asset's, and its costs."""
    with explained_failures():
        done = [(step.output, _run_step(context, workspace, step)) for step in steps]
    return done[-1]


def _run_step(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    step: Step,
    accept: Callable[[Manifest], None] | None = None,
    settle: Callable[[Manifest], Manifest] | None = None,
) -> StageRun:
    with explained_failures():
        run = map_shards(
            step.function,
            step.units,
            step.output,
            stage=step.stage,
            executor=workspace.start_executor,
            on_progress=LoggedProgress(context.log),
            accept=accept,
            settle=settle,
        )
    report = run.manifest.report
    context.log.info(
        f"{step.output.key}: {report.num_in:,} in, {report.num_out:,} out, dropped {dict(report.dropped)}; "
        f"{run.num_run} units run, {run.num_skipped} reused, {run.seconds:.2f} s"
    )
    return run


def result(table: Table, run: StageRun, metadata: dict[str, Any]) -> dg.MaterializeResult:
    """Return the materialization with the metadata of every table and that of the stage."""
    return dg.MaterializeResult(
        metadata=in_reading_order({**table_metadata(table, run), **metadata}),
        data_version=dg.DataVersion(run.manifest.content_hash),
    )


def program_result(
    context: dg.AssetExecutionContext,
    pipes: ProgramClient,
    command: Sequence[str],
    metadata: Callable[[], dict[str, Any]] = dict,
    *,
    env: Mapping[str, str] | None = None,
    holds_lock: bool = False,
) -> dg.MaterializeResult:
    """Run one of our programs in a process of its own; return its report with ``metadata``, read once it is done.

    Another run that makes the same asset at the same time waits, and then finds what this one has made. An asset that
    writes into its folder itself takes its lock before, and says so by ``holds_lock``.
    """
    store = context.resources.workspace.store
    with contextlib.nullcontext() if holds_lock else store.lock("/".join(context.asset_key.path)):
        try:
            reported = pipes.run(command=list(command), context=context, env=dict(env or {})).get_materialize_result()
        finally:  # what a program that failed has left goes on elsewhere: journals, the state of a training
            store.publish()
        return reported._replace(metadata=in_reading_order({**metadata(), **(reported.metadata or {})}))


def in_parts(
    context: dg.AssetExecutionContext,
    pipes: ProgramClient,
    num_parts: int,
    command: Callable[[Path, int], Sequence[str]],
    *,
    env: Mapping[str, str] | None = None,
) -> list[Path]:
    """Run a program's parts at the same time on the cluster, and return their folders for the run of the whole.

    Args:
        context: Of the asset, under whose key the folders lie.
        pipes: What runs them; on this machine there are no parts, as one program uses all of it.
        num_parts: How many.
        command: Folder and number of a part, from 0 on -> its command.
        env: Variables of the programs.
    """
    if num_parts == 1 or not isinstance(pipes, RayProgramClient):
        return []
    key = "/".join(context.asset_key.path)
    store = context.resources.workspace.store
    folders = [store.folder(f"parts/{key}/{number + 1}-of-{num_parts}") for number in range(num_parts)]
    with store.lock(f"parts/{key}"):
        pipes.run_parts(context, [command(folder, number) for number, folder in enumerate(folders)], env)
    return folders


def upstream_failure(error: UpstreamError, context: dg.AssetExecutionContext) -> Exception:
    """Return the exception to raise: failures of the network are retried, with a warning, others are not."""
    if error.retryable:
        number = context.retry_number + 1
        if number <= MAX_NETWORK_RETRIES:  # the last is said by its failure
            again = f"asked again in {RETRY_WAIT_SECONDS} s, time {number} of {MAX_NETWORK_RETRIES}"
            context.log.warning(f"{error}; {again}")
        return dg.RetryRequested(max_retries=MAX_NETWORK_RETRIES, seconds_to_wait=RETRY_WAIT_SECONDS)
    return ExplainedError(str(error))
