"""Deletes what Dagster itself never does: logs of ticks, evaluations of conditions, and runs of long ago.

Invariant: the run that holds the last event of an asset stays, so no data version is lost and nothing is requested
again. Rows of ticks go by ``retention`` in ``dagster.yaml``; their pages in the database are used again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

# not exported: what is deleted by path depends on them
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

INTERVAL_SECONDS = 6 * 3600
TICK_LOG_DAYS = 1
"""As ``retention`` in ``dagster.yaml`` keeps the rows of ticks that requested nothing: each row of an automation sensor
has its cursor, 54 kB for 47 assets and checks with a history."""
EVALUATION_DAYS = 30
RUN_DAYS = 90
MAX_RUNS = 200
"""Deleted at one tick, whose time is limited."""
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def clean(instance: dg.DagsterInstance, repository: str, now: datetime) -> str:
    """Delete what is older than its days and return a sentence that says how much that was."""
    num_logs = delete_tick_logs(instance, repository, now - timedelta(days=TICK_LOG_DAYS))
    num_runs = delete_runs(instance, now - timedelta(days=RUN_DAYS))
    assert instance.schedule_storage is not None, "every instance has one"
    instance.schedule_storage.purge_asset_evaluations((now - timedelta(days=EVALUATION_DAYS)).timestamp())
    return (
        f"deleted {num_logs:,} logs of ticks older than {TICK_LOG_DAYS} day and {num_runs:,} runs older than "
        f"{RUN_DAYS} days"
    )


def delete_tick_logs(instance: dg.DagsterInstance, repository: str, before: datetime) -> int:
    """Delete the logs of ticks last written before ``before``; return their number.

    Only local files have to be deleted: in a bucket a lifecycle rule does the same.
    """
    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return 0
    folder = Path(manager.get_captured_local_path([repository, "sensor", "tick"], "err")).parents[1]
    old = [path for path in folder.glob("*/*") if path.is_file() and path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def delete_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete finished runs with their events and logs, but none with an asset's last event; return their number."""
    filters = dg.RunsFilter(statuses=_FINISHED, created_before=before)
    old = [record.dagster_run.run_id for record in instance.get_run_records(filters, ascending=True)]
    kept = set(_last_runs(instance)) if old else set()
    deleted = [run_id for run_id in old if run_id not in kept][:MAX_RUNS]
    for run_id in deleted:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
        if isinstance(instance.event_log_storage, SqliteEventLogStorage):  # its file of the run stays otherwise
            Path(instance.event_log_storage.path_for_shard(run_id)).unlink(missing_ok=True)
    return len(deleted)


def _last_runs(instance: dg.DagsterInstance) -> Iterator[str]:
    for key in instance.all_asset_keys():
        latest = instance.get_latest_materialization_event(key)
        observed = instance.fetch_observations(key, limit=1).records
        yield from (event.run_id for event in (latest, *observed) if event)


@dg.sensor(
    name="housekeeping",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Deletes logs of ticks after {TICK_LOG_DAYS} day, and runs that no asset's state needs after "
    f"{RUN_DAYS} days. Starts no run.",
)
def housekeeping_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Delete what is old."""
    assert context.repository_name is not None, "a sensor of a code location"
    return dg.SkipReason(clean(context.instance, context.repository_name, datetime.now(UTC)))
