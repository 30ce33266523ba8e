"""Nothing that ticks and runs leave grows for ever, and no asset forgets its last event."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from codeft_assets.definitions import defs
from codeft_assets.defs.automation import housekeeping
from tests.benchmarks import idle_months

ROOT = Path(__file__).parents[2]
REPOSITORY = "__repository__"
NOW = datetime.now(UTC)


@dg.asset
def table():
    return dg.MaterializeResult(data_version=dg.DataVersion("1"))


@dg.observable_source_asset
def source():
    return dg.DataVersion("1")


DEFS = dg.Definitions(assets=[table, source])


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster.yaml").write_text((ROOT / "codeft_assets" / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def run(instance, *, select=table):
    job = DEFS.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, asset_selection=[select.key]).run_id


def write_log(instance, tick, *, days):
    manager = instance.compute_log_manager
    path = Path(manager.get_captured_local_path([REPOSITORY, "corpus_automation", str(tick)], "err"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, times=((NOW - timedelta(days=days)).timestamp(),) * 2)
    return path


def test_logs_of_ticks_go_after_their_days_and_no_other_file(instance):
    old, new = write_log(instance, 1, days=1.1), write_log(instance, 2, days=0.9)
    run_id = run(instance)
    housekeeping.clean(instance, REPOSITORY, NOW)
    assert (old.exists(), new.exists()) == (False, True)
    assert instance.get_run_by_id(run_id)


def test_runs_go_after_their_days_with_their_files_but_the_last_of_an_asset_stays(instance, tmp_path):
    observed = run(instance, select=source)
    first, second, last = run(instance), run(instance), run(instance)
    later = datetime.now(UTC) + timedelta(days=housekeeping.RUN_DAYS)
    assert housekeeping.delete_runs(instance, later - timedelta(days=housekeeping.RUN_DAYS + 1)) == 0
    assert housekeeping.delete_runs(instance, later) == 2
    assert {record.run_id for record in instance.get_runs()} == {observed, last}
    assert instance.get_latest_materialization_event(table.key).run_id == last
    assert instance.fetch_observations(source.key, limit=1).records
    names = [path.name for path in tmp_path.rglob("*")]
    assert not [name for name in names if name.startswith((first, second))]


def test_a_tick_that_requests_nothing_logs_no_line_for_each_asset(instance):
    path = idle_months.tick(instance, defs.get_repository_def(), "corpus_automation", NOW, {})
    assert len(path.read_text().splitlines()) <= 2


@pytest.mark.parametrize("path", ["codeft_assets/dagster.yaml", "docker/dagster.yaml"])
def test_rows_of_all_ticks_have_an_end(path):
    days = yaml.safe_load((ROOT / path).read_text())["retention"]
    assert days["sensor"] == days["schedule"] == {"purge_after_days": {"skipped": 1, "failure": 30, "success": 90}}
    assert days["sensor"]["purge_after_days"]["skipped"] == housekeeping.TICK_LOG_DAYS


def test_disk_use_of_idle_months_is_flat(tmp_path):
    num_bytes = idle_months.soak(tmp_path, days=6, ticks_per_day=2)
    assert num_bytes[5] <= num_bytes[3] * 1.02
