"""Disk use of an instance that watches and does nothing, over simulated days: it must be flat.

    python tests/benchmarks/idle_months.py --days 60 --ticks-per-day 48

Every tick is real: the sensors of the code location are evaluated with the instance a person has, and their rows and
logs are written as the daemon does. Only the clock is simulated, and with it the times of the files.
"""

import argparse
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_representation.external_data import SensorExecutionErrorSnap
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._grpc.impl import get_external_sensor_execution

from codeft_assets.definitions import defs
from codeft_assets.defs.automation import housekeeping

ROOT = Path(__file__).parents[2]
SENSORS = ("corpus_automation", "alerts", "retention_sensor")
START = datetime(2027, 1, 1, tzinfo=UTC)


def tick(instance, repository, name, now, cursors):
    """Evaluate a sensor as the code server does, leave the row that the daemon leaves, and return its log's path."""
    data = TickData(name, name, InstigatorType.SENSOR, TickStatus.STARTED, now.timestamp(), selector_id=name)
    row = instance.create_tick(data)
    log_key = [repository.name, name, str(row.tick_id)]
    result = get_external_sensor_execution(
        repository, None, instance.get_ref(), name, None, None, cursors.get(name), log_key, None
    )
    assert not isinstance(result, SensorExecutionErrorSnap), result.error
    cursors[name] = result.cursor or cursors.get(name)
    evaluations = [found.with_run_ids(set()) for found in result.automation_condition_evaluations]
    instance.schedule_storage.add_auto_materialize_asset_evaluations(row.tick_id, evaluations)
    instance.update_tick(row.with_status(TickStatus.SKIPPED).with_log_key(log_key).with_cursor(cursors[name]))
    path = Path(instance.compute_log_manager.get_captured_local_path(log_key, "err"))
    if path.exists():
        os.utime(path, times=(now.timestamp(), now.timestamp()))
    for status, days in instance.get_tick_retention_settings(InstigatorType.SENSOR).items():
        if days > 0:
            instance.purge_ticks(name, name, (now - timedelta(days=days)).timestamp(), tick_statuses=[status])
    return path


def soak(folder, *, days, ticks_per_day):
    """Return the bytes below ``folder`` at the end of each simulated day."""
    (folder / "dagster.yaml").write_text((ROOT / "codeft_assets" / "dagster.yaml").read_text())
    os.environ["CODEFT_HOME"] = str(folder / "data")
    repository, cursors, num_bytes = defs.get_repository_def(), {}, []
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for day in range(days):
            for number in range(ticks_per_day):
                now = START + timedelta(days=day + number / ticks_per_day)
                for name in SENSORS:
                    tick(instance, repository, name, now, cursors)
            housekeeping.clean(instance, repository.name, now)
            files = [path for path in folder.rglob("*") if path.is_file()]
            num_bytes.append(sum(path.stat().st_size for path in files))
    return num_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--ticks-per-day", type=int, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        num_bytes = soak(Path(folder), days=options.days, ticks_per_day=options.ticks_per_day)
    for day in sorted({0, 1, 2, 3, 6, *range(6, options.days, 7), options.days - 1} & set(range(options.days))):
        print(f"day {day + 1:3}: {num_bytes[day] / 1e6:8.2f} MB")
    settled = num_bytes[min(6, options.days - 1)]
    print(f"from day 7 to the end: {num_bytes[-1] / settled:.3f} times")


if __name__ == "__main__":
    main()
