"""Retention as a job, dry by default, and the sensor that runs it when there is something to delete."""

import dagster as dg
from pydantic import Field

from codeft_assets.defs.settings import Settings
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_assets.store.retention import KEEP_LAST, RetentionPlan, apply_retention, plan_retention

INTERVAL_SECONDS = 6 * 3600


class RetentionConfig(Settings):
    """Versions to keep, and whether to delete."""

    keep_last: int = Field(
        default=KEEP_LAST,
        ge=1,
        description="Versions of every table and checkpoint to keep, and those that a kept checkpoint names",
    )
    dry_run: bool = Field(default=True, description="Only report what would be deleted")


@dg.op(description="Deletes old versions of tables and checkpoints, never one that a kept checkpoint's lineage names.")
def delete_old_versions(context: dg.OpExecutionContext, config: RetentionConfig, workspace: Workspace) -> None:
    """Plan, report and, unless it is a dry run, delete."""
    plan = plan_retention(workspace.store, config.keep_last)
    if not config.dry_run:
        apply_retention(workspace.store, plan)
    context.log.info(f"{'would delete' if config.dry_run else 'deleted'} {_summary(plan)}")
    context.add_output_metadata(
        {
            "dry_run": config.dry_run,
            "num_table_versions": len(plan.snapshots),
            "num_folders": len(plan.folders),
            "num_bytes_of_folders": plan.num_bytes,
            "table_versions": md.markdown_table(("table", "content hash"), plan.snapshots),
            "folders": md.markdown_table(("folder",), ((folder,) for folder in plan.folders)),
        }
    )


def _summary(plan: RetentionPlan) -> str:
    return f"{len(plan.snapshots)} table versions and {len(plan.folders)} folders, {plan.num_bytes:,} bytes"


@dg.job(description="Deletes old versions of tables and checkpoints. Dry unless dry_run is set to false.")
def retention() -> None:
    """Delete old versions."""
    delete_old_versions()


@dg.sensor(
    name="retention_sensor",
    job=retention,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Runs retention, keeping the last {KEEP_LAST} versions, when there is something to delete.",
)
def retention_sensor(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.RunRequest | dg.SkipReason:
    """Request a run only if it would delete something."""
    plan = plan_retention(workspace.store)
    if plan.is_empty:
        return dg.SkipReason(f"no table and no checkpoint has more than {KEEP_LAST} versions that may go")
    config = {"ops": {"delete_old_versions": {"config": {"dry_run": False}}}}
    return dg.RunRequest(run_key=plan.digest, run_config=config)
