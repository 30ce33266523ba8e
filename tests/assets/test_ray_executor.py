"""A stage on real raylets: the table is the undisturbed one, whatever is killed, and an error names its unit."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from codeft_assets.store import ray_executor
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.store.executors import find_executor
from codeft_assets.store.ray_executor import MAX_TRIES
from tests.assets.raylets import once, ray_nodes, wait_until
from tests.assets.test_engine import STAGE, calls, double, fail_at_third, kill_at_third, units

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    with ray_nodes() as nodes:
        yield nodes


def kill_once(number, log):
    if number == 3 and once(f"{log}.killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    yield from double(number, log)


def fail_once(number, log):
    if number == 3 and once(f"{log}.failed"):
        raise OSError(110, "Connection timed out")
    yield from double(number, log)


def wait_at_fourth(number, log):
    """The first to come to the fourth unit says on which node it is, and waits for somebody to kill it."""
    if number == 4 and once(f"{log}.begun"):
        import ray

        Path(f"{log}.waiting").write_text(ray.get_runtime_context().get_node_id())
        signal.pause()
    yield from double(number, log)


def hang_once(number, log):
    """The first to come to the fourth unit never ends."""
    if number == 4 and once(f"{log}.hung"):
        signal.pause()
    yield from double(number, log)


def outlive_the_third(number, log):
    """The third unit always fails, and the fourth ends a while after the last of its tries."""
    if number == 3:
        with open(f"{log}.tries", "a") as file:
            file.write("x")
    if number == 4:
        wait_until(lambda: tries(log) == MAX_TRIES)
        time.sleep(0.5)
    yield from fail_at_third(number, log)


def tries(log):
    path = Path(f"{log}.tries")
    return path.stat().st_size if path.exists() else 0


on_ray = partial(map_shards, stage=STAGE, executor=find_executor("ray", 2))


def waiting(log):
    path = Path(f"{log}.waiting")
    return path.read_text() if path.exists() else ""


def committed(table, count):
    return len(list(Path(table.path("units")).glob("[!.]*.json"))) == count


def undisturbed(folder):
    return map_shards(double, units(folder / "other"), Store(str(folder)).table("undisturbed"), stage=STAGE).manifest


@pytest.mark.parametrize("function", [double, kill_once, fail_once])
def test_a_unit_whose_worker_dies_or_that_fails_runs_again_to_the_same_hash(cluster, tmp_path, function):
    log, table = tmp_path / "log", Store(str(tmp_path)).table("doubled")
    assert on_ray(function, units(log), table).manifest.content_hash == undisturbed(tmp_path).content_hash
    assert calls(log) == [1, 2, 3, 4, 5]


def test_a_unit_that_always_fails_is_named_after_three_tries_and_the_others_are_kept(cluster, tmp_path):
    log, table = tmp_path / "log", Store(str(tmp_path)).table("doubled")
    with pytest.raises(OSError, match="No space left") as failure:
        on_ray(outlive_the_third, units(log), table)
    assert failure.value.__notes__ == ["in unit 'unit 3' of table 'doubled'; the units that finished are kept"]
    assert tries(log) == MAX_TRIES
    assert not table.exists()
    assert 4 in calls(log)  # what was running has ended
    kept = calls(log)
    assert on_ray(double, units(log), table).num_skipped == len(kept)
    assert calls(log) == [1, 2, 3, 4, 5]


def test_a_unit_that_kills_its_workers_is_named_and_the_others_are_kept(cluster, tmp_path):
    log, table = tmp_path / "log", Store(str(tmp_path)).table("doubled")
    with pytest.raises(RuntimeError, match="unit doubled: unit 3 lost its worker 3 times"):
        on_ray(kill_at_third, units(log), table)
    assert on_ray(double, units(log), table).manifest.content_hash == undisturbed(tmp_path).content_hash
    assert calls(log) == [1, 2, 3, 4, 5]


def test_a_unit_that_hangs_is_begun_again_elsewhere_and_the_first_to_end_counts(cluster, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(ray_executor, "SLOW_SECONDS", 1)
    log, table = tmp_path / "log", Store(str(tmp_path)).table("doubled")
    assert on_ray(hang_once, units(log), table).manifest.content_hash == undisturbed(tmp_path).content_hash
    assert "unit doubled: unit 4 takes" in caplog.text
    assert calls(log) == [1, 2, 3, 4, 5]


DRIVER = """
import sys
from codeft_assets.store import ray_executor
from codeft_assets.store.data_root import Store
from tests.assets import test_ray_executor as t
t.on_ray(t.wait_at_fourth, t.units(sys.argv[2]), Store(sys.argv[1]).table("doubled"))
"""


def test_after_the_driver_is_killed_the_next_run_begins_with_what_was_finished(cluster, tmp_path):
    log, table = tmp_path / "log", Store(str(tmp_path)).table("doubled")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), str(log)], env=environment, cwd=ROOT)
    wait_until(lambda: waiting(log) and committed(table, 4))
    driver.kill()
    driver.wait()
    resumed = on_ray(double, units(log), table)
    assert resumed.num_skipped == 4
    assert resumed.manifest.content_hash == undisturbed(tmp_path).content_hash
    assert calls(log) == [1, 2, 3, 4, 5]


def test_a_node_that_vanishes_costs_its_units_and_nothing_else(cluster, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(ray_executor, "SLOW_SECONDS", 3600)  # on a busy host the unit would have a second copy before
    log, table = tmp_path / "log", Store(str(tmp_path)).table("doubled")

    def remove():
        wait_until(lambda: waiting(log) and committed(table, 4))
        (node,) = [node for node in cluster.worker_nodes if node.node_id == waiting(log)]
        cluster.remove_node(node, allow_graceful=False)

    with ThreadPoolExecutor(1) as other:
        removed = other.submit(remove)
        run = on_ray(wait_at_fourth, units(log), table)
    removed.result()
    assert "unit doubled: unit 4 runs again (0 failures)" in caplog.text
    assert run.manifest.content_hash == undisturbed(tmp_path).content_hash
    assert calls(log) == [1, 2, 3, 4, 5]
