"""Tables are committed by manifest; units run once; kills, workers and order change nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.engine import ShardResult, Stage, Unit, map_shards, table_units
from codeft_assets.storage import CorruptShardError, MissingTableError, Store, write_atomically

STAGE = Stage(name="double", code_version="1", parameters={"factor": 2})


def double(number, log):
    """A shard function; it notes every call in a file, which also works across processes."""
    with open(log, "a") as file:
        file.write(f"{number}\n")
    rows = pa.table({"number": [number * 2]})
    yield ShardResult(rows=rows, report=StageReport(num_in=1, num_out=1))


def kill_at_third(number, log):
    """Like ``double``, but the process dies without a word at the third unit."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from double(number, log)


def fail_at_third(number, log):
    if number == 3:
        raise OSError(28, "No space left on device")
    yield from double(number, log)


def half_rejected(number, log):
    rows = pa.table({"number": [number]})
    report = StageReport(num_in=2, num_out=1, dropped={"odd": 1}, examples={"odd": (f"{number}: odd",)})
    yield ShardResult(rows=rows, rejects=pa.table({"reason": ["odd"]}), report=report)


def units(log, numbers=(1, 2, 3, 4, 5)):
    return [Unit(name=f"unit {n}", fingerprint=f"input {n}", args=(n, str(log))) for n in numbers]


def calls(log):
    return sorted(int(line) for line in Path(log).read_text().split()) if Path(log).exists() else []


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "root"))


def test_a_second_run_does_no_work_and_keeps_the_content_hash(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    first = map_shards(double, units(log), table, stage=STAGE)
    second = map_shards(double, units(log), table, stage=STAGE)
    assert calls(log) == [1, 2, 3, 4, 5]
    assert (first.num_run, second.num_run, second.num_skipped) == (5, 0, 5)
    assert first.manifest.content_hash == second.manifest.content_hash
    assert table.read()["number"].to_list() == [2, 4, 6, 8, 10]


def test_one_changed_input_redoes_only_its_unit(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    map_shards(double, units(log), table, stage=STAGE)
    changed = [*units(log)[:4], Unit(name="unit 5", fingerprint="input 5, edited", args=(50, str(log)))]
    outcome = map_shards(double, changed, table, stage=STAGE)
    assert (outcome.num_run, calls(log)) == (1, [1, 2, 3, 4, 5, 50])
    assert table.read()["number"].to_list() == [2, 4, 6, 8, 100]


@pytest.mark.parametrize("stage", [Stage(name="double", code_version="2"), Stage(name="other", code_version="1")])
def test_another_code_version_or_stage_redoes_everything(store, tmp_path, stage):
    log, table = tmp_path / "log", store.table("doubled")
    map_shards(double, units(log), table, stage=STAGE)
    assert map_shards(double, units(log), table, stage=stage).num_run == 5


def test_a_changed_parameter_redoes_everything(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    map_shards(double, units(log), table, stage=STAGE)
    other = Stage(name="double", code_version="1", parameters={"factor": 3})
    assert map_shards(double, units(log), table, stage=other).num_run == 5


def test_two_workers_give_the_content_hash_of_one(store, tmp_path):
    alone = map_shards(double, units(tmp_path / "a"), store.table("alone"), stage=STAGE)
    pooled = map_shards(double, units(tmp_path / "b"), store.table("pooled"), stage=STAGE, workers=2)
    assert calls(tmp_path / "b") == [1, 2, 3, 4, 5]
    assert alone.manifest.content_hash == pooled.manifest.content_hash


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.assets import test_engine as t
from codeft_assets.storage import Store
from codeft_assets.engine import map_shards
map_shards(t.kill_at_third, t.units(sys.argv[3]), Store(sys.argv[2]).table("doubled"), stage=t.STAGE)
"""


def test_after_a_sigkill_only_unfinished_units_run_and_the_hash_is_the_undisturbed_one(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(root), store.root, str(log)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not table.exists()  # no manifest: there is no table
    resumed = map_shards(double, units(log), table, stage=STAGE)
    assert calls(log) == [1, 2, 3, 4, 5]  # 1 and 2 were not done again
    undisturbed = map_shards(double, units(tmp_path / "other"), store.table("undisturbed"), stage=STAGE)
    assert resumed.manifest.content_hash == undisturbed.manifest.content_hash


def test_a_killed_worker_is_a_clear_error_and_finished_units_are_kept(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    with pytest.raises(RuntimeError, match="killed from outside.*CODEFT_WORKERS"):
        map_shards(kill_at_third, units(log), table, stage=STAGE, workers=2)
    assert map_shards(double, units(log), table, stage=STAGE).manifest.num_rows == 5


def test_a_failing_unit_leaves_the_old_table_as_it_was(store, tmp_path):
    table = store.table("doubled")
    before = map_shards(double, units(tmp_path / "log"), table, stage=STAGE)
    with pytest.raises(OSError, match="No space left"):
        map_shards(fail_at_third, units(tmp_path / "log"), table, stage=Stage(name="double", code_version="2"))
    assert table.manifest().content_hash == before.manifest.content_hash
    assert table.read()["number"].to_list() == [2, 4, 6, 8, 10]


def test_what_accept_refuses_is_not_committed(store, tmp_path):
    table = store.table("doubled")

    def refuse(manifest):
        raise ValueError(f"{manifest.num_rows} rows are too many")

    with pytest.raises(ValueError, match="5 rows"):
        map_shards(double, units(tmp_path / "log"), table, stage=STAGE, accept=refuse)
    assert not table.exists()


def test_units_of_the_same_name_are_refused(store, tmp_path):
    twice = units(tmp_path / "log", (1, 1))
    with pytest.raises(ValueError, match="unit 1"):
        map_shards(double, twice, store.table("doubled"), stage=STAGE)


def test_rejects_are_kept_beside_the_rows_and_counted(store, tmp_path):
    table = store.table("halved")
    outcome = map_shards(half_rejected, units(tmp_path / "log", (1, 2)), table, stage=STAGE)
    report = outcome.manifest.report
    assert (report.num_in, report.num_out, report.dropped) == (4, 2, {"odd": 2})
    assert table.scan(rejects=True).collect()["reason"].to_list() == ["odd", "odd"]
    assert report.examples == {"odd": ("1: odd", "2: odd")}


def test_a_changed_byte_on_disk_is_a_corrupt_shard(store, tmp_path):
    table = store.table("doubled")
    shard = map_shards(double, units(tmp_path / "log", (1,)), table, stage=STAGE).manifest.shards[0]
    path = Path(table.path(shard.path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptShardError, match="materialize the asset 'doubled' again"):
        table.read_shard(shard)


def test_a_shard_deleted_by_hand_is_made_again(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    first = map_shards(double, units(log), table, stage=STAGE).manifest
    Path(table.path(first.shards[2].path)).unlink()
    assert map_shards(double, units(log), table, stage=STAGE).num_run == 1
    assert calls(log) == [1, 2, 3, 3, 4, 5]


def test_files_no_manifest_names_are_removed_one_generation_later(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    old = map_shards(double, units(log), table, stage=STAGE).manifest
    for version in ("2", "3"):
        new = map_shards(double, units(log), table, stage=Stage(name="double", code_version=version)).manifest
        # a reader of the previous manifest still finds its shards
        named = {Path(shard.path).name for manifest in (old, new) for shard in manifest.shards}
        assert {path.name for path in Path(table.path("shards")).iterdir()} == named
        old = new


def test_a_table_without_a_manifest_says_what_to_materialize(store):
    with pytest.raises(MissingTableError, match="materialize the asset 'corpus/ledger' first"):
        store.table("corpus/ledger").manifest()


def test_an_unknown_manifest_format_is_refused(store, tmp_path):
    table = store.table("doubled")
    map_shards(double, units(tmp_path / "log", (1,)), table, stage=STAGE)
    path = Path(table.path("manifest.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="format 99.*delete the table's folder"):
        table.manifest()


def test_tables_live_on_object_storage_too():
    table = Store("memory://bucket/codeft").table("numbers")
    stage = Stage(name="numbers", code_version="1")
    log = "/dev/null"
    first = map_shards(double, units(log), table, stage=stage)
    assert map_shards(double, units(log), table, stage=stage).num_run == 0
    assert table.scan().select(pl.col("number").sum()).collect().item() == 30
    assert [found.key for found in Store("memory://bucket/codeft").tables()] == ["numbers"]
    assert first.manifest.num_rows == 5


def test_the_shards_of_a_table_are_the_units_of_the_next_stage(store, tmp_path):
    table = store.table("doubled")
    map_shards(double, units(tmp_path / "log"), table, stage=STAGE)
    made = table_units([table], "extra")
    assert len(made) == 5
    assert made[0].args[0] == table
    assert made[0].args[2] == "extra"


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    from fsspec.implementations.local import LocalFileSystem

    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "file"
    target.mkdir()  # a folder stands where the file should go: the rename fails
    with pytest.raises(OSError, match="file"):
        write_atomically(LocalFileSystem(), str(target), b"content")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]


def test_accounts_that_do_not_balance_are_refused():
    with pytest.raises(AssertionError, match="3 in, 1 out, 1 dropped"):
        StageReport(num_in=3, num_out=1, dropped={"odd": 1})
