"""A data root on object storage: folders and tables have local copies, and what is published is whole."""

import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from codeft_assets.store import mirror
from codeft_assets.store.catalog import write_catalog
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.store.mirror import ConflictError, Mirror
from tests.assets.test_engine import STAGE, double, units

KEY = "model/checkpoint"


@pytest.fixture
def url():
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    return "memory://bucket/codeft"


@pytest.fixture
def machine(url, tmp_path, monkeypatch):
    """Return a function that makes this process another machine, and returns its view of the data root."""

    def become(name):
        monkeypatch.setenv(mirror.CACHE_VARIABLE, str(tmp_path / name))
        monkeypatch.setattr(mirror, "_OPENED", {})
        return Store(url)

    return become


def publish(store, **files):
    folder = store.folder(KEY)
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    store.publish()
    return folder


def contents(folder):
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in sorted(found.items()) if not name.startswith(".")}


def test_what_one_machine_publishes_another_reads(machine):
    publish(machine("a"), **{"result": "1", "checkpoint__weights": "w", "checkpoint__same": "w"})
    folder = machine("b").folder(KEY)
    assert contents(folder) == {"checkpoint/same": "w", "checkpoint/weights": "w", "result": "1"}


def test_files_are_replaced_and_removed_and_what_nobody_names_is_deleted(machine, url):
    publish(machine("a"), result="1", old="x")
    other = machine("b")
    folder = publish(other, result="2")
    (folder / "old").unlink()
    other.publish()
    assert contents(machine("a").folder(KEY)) == {"result": "2"}
    stored = fsspec.filesystem("memory").ls(f"{url}/files/{KEY}".removeprefix("memory:/"), detail=False)
    assert len(stored) == 2  # the index and one content


def test_what_was_never_published_stays_on_its_machine(machine):
    publish(machine("a"), result="1")
    publish(machine("b"), result="2")
    store = machine("a")
    (store.folder(KEY) / "journal").write_text("paid for")
    assert contents(store.folder(KEY)) == {"journal": "paid for", "result": "2"}


def test_two_machines_that_write_at_once_are_told_and_the_first_stays(machine):
    first, folder = machine("a"), None
    publish(first, result="0")
    second = machine("b")
    folder = second.folder(KEY)
    publish(machine("a"), result="1")
    second = machine("b")
    (folder / "result").write_text("2")
    mirror.open_mirror(second.root, KEY)
    with pytest.raises(ConflictError, match="published by another machine .* delete that folder and run again"):
        second.publish()
    assert contents(machine("c").folder(KEY)) == {"result": "1"}
    assert (folder / "result").read_text() == "2"


def test_a_writer_that_dies_before_its_index_changes_nothing(machine, monkeypatch):
    publish(machine("a"), result="1")
    store = machine("b")
    (store.folder(KEY) / "result").write_text("2")

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mirror, "write_file", die)
    with pytest.raises(KeyboardInterrupt):
        store.publish()
    monkeypatch.undo()
    assert contents(Mirror(f"{store.root}/files/{KEY}", Path(store.folder(KEY).parent / "fresh"), KEY).pull()) == {
        "result": "1"
    }


def test_an_object_whose_bytes_changed_is_refused(machine, url):
    publish(machine("a"), result="1")
    memory = fsspec.filesystem("memory")
    for path in memory.ls(f"{url}/files/{KEY}".removeprefix("memory:/"), detail=False):
        if not path.endswith("index.json"):
            memory.pipe_file(path, b"other")
    with pytest.raises(OSError, match="hashes to .* it should be .* delete it and run again"):
        machine("b").folder(KEY)


def test_a_program_reads_a_table_by_path(machine, tmp_path):
    store = machine("a")
    table = store.table("corpus/mixture")
    map_shards(double, units(tmp_path / "log"), table, stage=STAGE)
    folder = store.local_table("corpus/mixture")
    assert (folder / "manifest.json").read_text() == table.manifest().to_json()
    assert sum(pa.parquet.read_table(path).num_rows for path in folder.rglob("*.parquet")) == 5
    map_shards(double, units(tmp_path / "log", (7,)), table, stage=STAGE)
    assert len(list(store.local_table("corpus/mixture").rglob("*.parquet"))) == 1


def test_a_catalog_of_a_remote_root_answers(machine, tmp_path):
    import duckdb

    store = machine("a")
    map_shards(double, units(tmp_path / "log"), store.table("numbers"), stage=STAGE)
    path = write_catalog(store)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("SELECT sum(number) FROM numbers").fetchone() == (30,)


def test_a_local_root_has_nothing_to_publish(tmp_path):
    store = Store(str(tmp_path))
    (store.folder(KEY) / "result").write_text("1")
    store.publish()
    shutil.rmtree(tmp_path / "tables", ignore_errors=True)
    assert contents(store.folder(KEY)) == {"result": "1"}
    assert store.place(KEY, "result") == str(tmp_path / "files" / KEY / "result")
