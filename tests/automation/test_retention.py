"""Retention keeps what is new, what a kept checkpoint's lineage names and what is being made, and deletes the rest."""

import json

import dagster as dg
import pyarrow as pa
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.defs.automation.retention import retention, retention_sensor
from codeft_assets.defs.workspace import Workspace
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards
from codeft_assets.store.retention import apply_retention, keep_checkpoint, plan_retention


def one_row(number):
    yield ShardResult(rows=pa.table({"number": [number]}), report=StageReport(num_in=1, num_out=1))


def write(store, key, number):
    """Write a version of a table and return its content hash."""
    unit = Unit(name="u", fingerprint=f"{number}", args=(number,))
    return map_shards(one_row, [unit], store.table(key), stage=Stage(name="s", code_version="1")).manifest.content_hash


def train(store, name, *, corpus="", tables=None, base_model=None):
    """Leave what a finished training leaves and keep it, as the asset does."""
    folder = store.folder("model/checkpoint")
    (folder / "checkpoint").mkdir(exist_ok=True)
    (folder / "checkpoint" / "model.safetensors").unlink(missing_ok=True)
    (folder / "checkpoint" / "model.safetensors").write_text(name)
    (folder / "runs" / name).mkdir(parents=True)
    result = {"identity": name, "weights_hash": name * 16, "corpus_content_hash": corpus}
    (folder / "result.json").write_text(json.dumps(result | {"recipe": {"base_model": base_model}}))
    (folder / "lineage.json").write_text(json.dumps({"tables": tables or {}}))
    return keep_checkpoint(folder)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "root"))


def test_the_last_versions_stay_and_a_dry_run_deletes_nothing(store):
    hashes = [write(store, "corpus/ledger", number) for number in range(5)]
    plan = plan_retention(store, keep_last=2)
    assert plan.snapshots == tuple(("corpus/ledger", content_hash) for content_hash in hashes[:3])
    assert store.table("corpus/ledger").snapshots() == hashes
    apply_retention(store, plan)
    assert store.table("corpus/ledger").snapshots() == hashes[3:]
    assert store.table("corpus/ledger").read()["number"].to_list() == [4]
    assert plan_retention(store, keep_last=2).is_empty


def test_a_version_that_a_checkpoints_lineage_names_is_never_deleted(store):
    corpora = [write(store, "corpus/mixture", number) for number in range(5)]
    scores = [write(store, "quality/scores", number) for number in range(5)]
    train(store, "a", corpus=corpora[0], tables={"quality/scores": scores[1]})
    apply_retention(store, plan_retention(store, keep_last=1))
    assert store.table("corpus/mixture").snapshots() == [corpora[0], corpora[4]]
    assert store.table("quality/scores").snapshots() == [scores[1], scores[4]]
    trained_on = store.table("corpus/mixture").snapshot(corpora[0])
    assert store.table("corpus/mixture").read_shard(trained_on.shards[0])["number"].to_pylist() == [0]


def test_old_checkpoints_and_their_tables_go_together(store):
    corpora = [write(store, "corpus/mixture", number) for number in range(3)]
    kept = [train(store, name, corpus=corpus) for name, corpus in zip("abc", corpora, strict=True)]
    apply_retention(store, plan_retention(store, keep_last=1))
    assert [path.exists() for path in kept] == [False, False, True]
    assert (kept[2] / "checkpoint" / "model.safetensors").read_text() == "c"
    assert store.table("corpus/mixture").snapshots() == corpora[2:]


def test_the_checkpoint_that_a_kept_one_was_fine_tuned_from_stays(store):
    first = train(store, "a")
    train(store, "b", base_model=str(first / "checkpoint"))
    gone = train(store, "c")
    train(store, "d")
    last = train(store, "e", base_model=str(store.folder("model/checkpoint") / "history" / "000002-bbbbbbbbbbbbbbbb"))
    apply_retention(store, plan_retention(store, keep_last=1))
    left = sorted(path.name[:6] for path in last.parent.iterdir())
    assert left == ["000001", "000002", "000005"]
    assert not gone.exists()


def test_the_state_of_a_training_that_may_go_on_stays(store):
    for name in "abc":
        train(store, name)
    runs = store.folder("model/checkpoint") / "runs"
    (runs / "unfinished").mkdir()
    apply_retention(store, plan_retention(store, keep_last=1))
    assert sorted(path.name for path in runs.iterdir()) == ["c", "unfinished"]


def test_a_checkpoint_is_kept_once_and_does_not_change_with_the_next_training(store):
    kept = train(store, "a")
    assert keep_checkpoint(store.folder("model/checkpoint")) is None
    train(store, "b")
    assert (kept / "checkpoint" / "model.safetensors").read_text() == "a"
    assert json.loads((kept / "result.json").read_text())["identity"] == "a"


def test_keeping_nothing_is_refused(store):
    with pytest.raises(ValueError, match="keep_last=0 would keep nothing; use 1 or more"):
        plan_retention(store, keep_last=0)


@pytest.mark.parametrize(("dry_run", "left"), [(True, 5), (False, 2)])
def test_the_job_deletes_only_when_told_to(store, dry_run, left):
    for number in range(5):
        write(store, "corpus/ledger", number)
    config = {"ops": {"delete_old_versions": {"config": {"dry_run": dry_run, "keep_last": 2}}}}
    done = retention.execute_in_process(run_config=config, resources={"workspace": Workspace(root=store.root)})
    assert done.success
    assert len(store.table("corpus/ledger").snapshots()) == left


def test_the_sensor_runs_it_only_if_there_is_something_to_delete(store):
    def look():
        context = dg.build_sensor_context(resources={"workspace": Workspace(root=store.root)})
        return retention_sensor(context)

    for number in range(3):
        write(store, "corpus/ledger", number)
    assert isinstance(look(), dg.SkipReason)
    write(store, "corpus/ledger", 3)
    assert look().run_config["ops"]["delete_old_versions"]["config"] == {"dry_run": False}
