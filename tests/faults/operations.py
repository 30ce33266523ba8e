"""Faults of months of use: a data root that moves, a path with a space, a home full of logs, a new version deployed."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb

from codeft_assets.defs.automation.housekeeping import clean
from tests.faults import kills
from tests.faults.world import ROOT, World, error_of, require, wait_until

NUM_LOGS = 20_000
REPOSITORY = "__repository__"


def _same(world, undisturbed, what="the next run"):
    code, log = world.run()
    require(code == 0, f"{what} failed: {error_of(log)}")
    require(world.hashes() == undisturbed.hashes(), f"{what} ended in other content hashes")
    return f"{what} ended in the undisturbed content hashes"


def moved_root(undisturbed, folder):
    """The data root is moved to another folder, and a table is missing there."""
    world = World(folder, undisturbed.hub, copy_of=undisturbed)
    catalog = [sys.executable, "-m", "codeft_assets.catalog"]
    subprocess.run(catalog, env=world.environment, cwd=ROOT, check=True, capture_output=True)
    said = "nothing"
    world.data = world.data.rename(folder / "moved")
    world.environment["CODEFT_HOME"] = str(world.data)
    query = "SELECT count(*) FROM documents"
    with duckdb.connect(str(world.data / "catalog.duckdb"), read_only=True) as connection:
        try:
            connection.sql(query).fetchall()
        except duckdb.Error as error:
            said = str(error)
    require(f"{folder}/data/" in said, f"the catalog answered, or did not name the place it was written for: {said}")
    subprocess.run(catalog, env=world.environment, cwd=ROOT, check=True, capture_output=True)  # the remedy
    with duckdb.connect(str(world.data / "catalog.duckdb"), read_only=True) as connection:
        [(num_rows,)] = connection.sql(query).fetchall()
    require(num_rows > 0, "the catalog is empty after the remedy")
    world.forget("dedup/clusters", "corpus/mixture")
    return (
        f"its catalog names the old place, `python -m codeft_assets.catalog` the new one; {_same(world, undisturbed)}"
    )


def spaces(undisturbed, folder):
    """Data root and Dagster's home lie in a folder with spaces and letters beyond ASCII in its name."""
    world = World(folder / "my data (größer) 数据", undisturbed.hub, begin_from=undisturbed)
    return _same(world, undisturbed, "the run")


def old_logs(undisturbed, folder):
    """Dagster's home holds the logs of twenty thousand ticks of a year ago."""
    world = World(folder, undisturbed.hub, copy_of=undisturbed)
    world.forget("dedup/clusters")
    year_ago = (datetime.now(tz=UTC) - timedelta(days=365)).timestamp()
    with dg.DagsterInstance.from_config(str(world.home)) as instance:
        path = instance.compute_log_manager.get_captured_local_path([REPOSITORY, "sensor", "tick"], "err")
        ticks = Path(path).parents[1]
        for number in range(NUM_LOGS):
            file = ticks / f"sensor{number % 7}" / f"{number}.err"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("evaluated, nothing requested\n" * 20)
            os.utime(file, (year_ago, year_ago))
        said = _same(world, undisturbed)
        cleaned = clean(instance, REPOSITORY, datetime.now(tz=UTC))
    left = sum(path.is_file() for path in ticks.rglob("*"))
    require(left == 0, f"{left} logs are left: {cleaned}")
    return f"{said}; {cleaned}"


def redeploy(undisturbed, folder):
    """The code server is asked to end in the middle of a run, and a new one takes its place."""
    world = World(folder, undisturbed.hub, begin_from=undisturbed)
    with kills.stack(world) as running, dg.DagsterInstance.from_config(str(world.home)) as instance:
        run_id = running.launch()
        require(wait_until(lambda: kills.is_said(instance, run_id, kills.STEP)), "the run did not start")
        running.processes["code server"].terminate()
        running.processes["code server"].wait(120)
        running.start("code server")
        require(wait_until(lambda: all(run.is_finished for run in instance.get_runs())), "the run never ended")
        first = [run.status.value for run in instance.get_runs()]
        second = running.launch()
        require(wait_until(lambda: instance.get_run_by_id(second).is_finished), "no run is possible after it")
        require(instance.get_run_by_id(second).is_success, "the run after it failed")
    require(world.hashes() == undisturbed.hashes(), "other content hashes")
    return f"the run ended {first[0]}, one launched on the new server SUCCESS: the undisturbed content hashes"


ROWS = (
    ("data root moved", moved_root),
    ("space in the path", spaces),
    ("home full of old logs", old_logs),
    ("redeployed in the middle of a run", redeploy),
)
