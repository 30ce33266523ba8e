"""Runs whose process is gone, ended, so that automation and pools do not wait for them.

Dagster's default launcher does not look after a run whose code server was replaced, nor after a run of the command line
that was killed: both stay in progress until ``max_runtime_seconds``.
"""

from collections.abc import Iterator

import dagster as dg

from codeft_assets.defs.process import TAG, is_gone

INTERVAL_SECONDS = 60
_RUNNING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_lost_runs(instance: dg.DagsterInstance) -> Iterator[str]:
    """Mark the runs whose process is gone as failed and yield their ids; run retries start them again."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_RUNNING)):
        if not is_gone(run.tags.get(TAG, "")):
            continue
        now = instance.get_run_by_id(run.run_id)  # its last act may have been to end, after it was listed
        if now is not None and now.status in _RUNNING:
            instance.report_run_failed(
                now,
                "The process of this run is gone: it was killed, or its code server was replaced. "
                "Finished units of work are kept; materialize again, if it is not retried automatically.",
            )
            yield run.run_id


@dg.sensor(
    name="lost_runs",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone: killed, or its code server replaced. Starts no run itself.",
)
def lost_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End the runs whose process is gone."""
    ended = list(end_lost_runs(context.instance))
    return dg.SkipReason(f"ended {', '.join(ended)}" if ended else "the process of every run is there")
