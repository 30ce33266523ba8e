"""Tables are committed by manifest; units run once; kills, workers and order change nothing."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards, table_units
from codeft_assets.store.executors import process_pool
from codeft_assets.store.files import write_file
from codeft_assets.store.manifest import Shard
from codeft_assets.store.parquet import arrow_memory
from codeft_assets.store.tables import CorruptShardError, MissingTableError

TWO = partial(process_pool, 2)
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
    pooled = map_shards(double, units(tmp_path / "b"), store.table("pooled"), stage=STAGE, executor=TWO)
    assert calls(tmp_path / "b") == [1, 2, 3, 4, 5]
    assert alone.manifest.content_hash == pooled.manifest.content_hash


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.assets import test_engine as t
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
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
        map_shards(kill_at_third, units(log), table, stage=STAGE, executor=TWO)
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
    with pytest.raises(CorruptShardError, match="delete the file .* and materialize the asset 'doubled' again"):
        table.read_shard(shard)
    for read in (table.read, table.scan, lambda: table.scan_shard(shard)):
        with pytest.raises(CorruptShardError, match="its manifest says"):
            read()
    path.unlink()  # the remedy
    with pytest.raises(CorruptShardError, match="is gone; materialize the asset"):
        table.read()
    assert map_shards(double, units(tmp_path / "log", (1,)), table, stage=STAGE).num_run == 1
    assert table.read()["number"].to_list() == [2]


def test_a_shard_deleted_by_hand_is_made_again(store, tmp_path):
    log, table = tmp_path / "log", store.table("doubled")
    first = map_shards(double, units(log), table, stage=STAGE).manifest
    Path(table.path(first.shards[2].path)).unlink()
    assert map_shards(double, units(log), table, stage=STAGE).num_run == 1
    assert calls(log) == [1, 2, 3, 3, 4, 5]


def make(table, log, version):
    return map_shards(double, units(log), table, stage=Stage(name="double", code_version=version)).manifest


def names(manifests):
    return {Path(shard.path).name for manifest in manifests for shard in manifest.shards}


def on_disk(table):
    return {path.name for path in Path(table.path("shards")).iterdir()}


def different(number, log, offset):
    rows = pa.table({"number": [number + offset]})
    yield ShardResult(rows=rows, report=StageReport(num_in=1, num_out=1))


def generations(table, log, count):
    return [
        map_shards(
            different,
            [Unit(name="u", fingerprint=f"{offset}", args=(1, str(log), offset))],
            table,
            stage=STAGE,
        ).manifest
        for offset in range(count)
    ]


def test_earlier_manifests_stay_readable_until_they_are_forgotten(store, tmp_path):
    table = store.table("doubled")
    first, second, third = generations(table, tmp_path / "log", 3)
    assert table.snapshots() == [first.content_hash, second.content_hash, third.content_hash]
    assert table.read_shard(table.snapshot(first.content_hash).shards[0])["number"].to_pylist() == [1]
    table.forget({first.content_hash, third.content_hash})  # the last is the table itself: it stays
    assert table.snapshots() == [second.content_hash, third.content_hash]
    assert table.snapshot(first.content_hash) is None
    assert on_disk(table) == names([second, third])
    assert table.read()["number"].to_list() == [3]


def test_a_table_that_is_what_it_was_before_is_remembered_once_and_last(store, tmp_path):
    table = store.table("doubled")
    first, second = generations(table, tmp_path / "log", 2)
    generations(table, tmp_path / "log", 1)
    assert table.snapshots() == [second.content_hash, first.content_hash]


def test_files_of_a_killed_run_with_other_parameters_are_removed_at_the_next_commit(store, tmp_path):
    table = store.table("doubled")
    table.write_shard("shards/left-00000.parquet", pa.table({"number": [1]}), unit="left")
    (Path(table.path("shards")) / ".tmp-999999999-torn").write_bytes(b"half")
    (only,) = generations(table, tmp_path / "log", 1)
    assert on_disk(table) == names([only])


def test_a_commit_whose_shards_another_run_deleted_is_refused(store, tmp_path):
    table = store.table("doubled")
    first = make(table, tmp_path / "log", "1")
    lost = Shard(path="shards/lost-00000.parquet", num_rows=1, content_hash="0" * 32, unit="lost")
    with pytest.raises(CorruptShardError, match="two runs wrote it at the same time.*materialize the asset 'doubled'"):
        table.commit(dataclasses.replace(first, shards=(*first.shards, lost)))
    assert table.manifest() == first


def wait_for_the_other(number, log):
    """Finish only once the other process says that it waits, or has begun to work."""
    Path(f"{log}.started").touch()
    for _ in range(200):
        if Path(f"{log}.waiting").exists():
            break
        threading.Event().wait(0.05)
    yield from double(number, log)


TWO_SCRIPT = """
import logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.assets import test_engine as t
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
class Note(logging.Handler):
    def emit(self, record):
        Path(sys.argv[3] + ".waiting").write_text(record.getMessage())
logging.getLogger("codeft_assets.store.files").addHandler(Note())
outcome = map_shards(t.wait_for_the_other, t.units(sys.argv[3]), Store(sys.argv[2]).table("doubled"), stage=t.STAGE)
print(outcome.num_run, outcome.num_skipped)
"""


def test_of_two_runs_of_one_table_the_second_waits_and_finds_the_work_done(store, tmp_path):
    log, root = tmp_path / "log", Path(__file__).parents[2]
    command = [sys.executable, "-c", TWO_SCRIPT, str(root), store.root, str(log)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["0 5", "5 0"]
    assert calls(log) == [1, 2, 3, 4, 5]
    assert "another run is writing table 'doubled'" in Path(f"{log}.waiting").read_text()


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
        write_file(LocalFileSystem(), str(target), b"content")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]


def test_a_write_that_fails_half_way_leaves_the_old_file_whole(tmp_path):
    from fsspec.implementations.local import LocalFileSystem

    target = tmp_path / "file"
    target.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as a full disk: the first 1,000 bytes are written
    try:
        with pytest.raises(OSError, match="free space and run again"):
            write_file(LocalFileSystem(), str(target), b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_row_counts_that_do_not_reconcile_are_refused():
    with pytest.raises(AssertionError, match="3 in, 1 out, 1 dropped"):
        StageReport(num_in=3, num_out=1, dropped={"odd": 1})


def test_arrow_reads_a_copy_and_holds_no_bytes_of_python():
    data = bytes(range(256)) * 10
    before = sys.getrefcount(data)
    buffer = arrow_memory(data)
    assert sys.getrefcount(data) == before
    assert buffer.to_pybytes() == data
    assert arrow_memory(b"").to_pybytes() == b""
