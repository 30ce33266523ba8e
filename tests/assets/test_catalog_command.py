"""The catalog on the command line: help is help, and an empty data root is no traceback."""

import shutil

import duckdb
import pyarrow as pa
import pytest

from codeft_assets import catalog
from codeft_assets.curation.report import StageReport
from codeft_assets.store.catalog import write_catalog
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards


def test_a_data_root_without_tables_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CODEFT_HOME", str(tmp_path))
    assert catalog.main([]) == 1
    assert (
        "catalog.duckdb has no documents or no ledger yet; materialize corpus/ledger first" in capsys.readouterr().err
    )


def test_help_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CODEFT_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="0"):
        catalog.main(["--help"])
    assert "CODEFT_HOME" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def one_document(text):
    yield ShardResult(rows=pa.table({"text": [text]}), report=StageReport(num_in=1, num_out=1))


def filled(root, *, text):
    """A data root with one document, by the real writer."""
    unit = Unit(name="row", fingerprint=text, args=(text,))
    map_shards(one_document, [unit], Store(str(root)).table("documents/a"), stage=Stage(name="one", code_version="1"))
    return write_catalog(Store(str(root)))


def texts(path):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.sql("SELECT text FROM documents").fetchall()


def test_a_copied_root_never_shows_the_tables_of_the_original(tmp_path):
    filled(tmp_path / "home", text="original")
    copy = shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with pytest.raises(duckdb.Error, match=r"written as .*home/catalog.duckdb.*run: python -m codeft_assets.catalog"):
        texts(copy / "catalog.duckdb")
    assert texts(tmp_path / "home" / "catalog.duckdb") == [("original",)]
    write_catalog(Store(str(copy)))
    shutil.rmtree(tmp_path / "home")
    assert texts(copy / "catalog.duckdb") == [("original",)]


def test_a_root_behind_a_link_is_the_same_root(tmp_path):
    filled(tmp_path / "disk", text="a")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write_catalog(Store(str(tmp_path / "link")))
    assert texts(tmp_path / "link" / "catalog.duckdb") == texts(tmp_path / "disk" / "catalog.duckdb") == [("a",)]


def test_the_printed_table_has_every_reason_the_most_frequent_first():
    reasons = {f"reason_{number}": number + 1 for number in range(12)}
    head, few, *many = catalog.row_counts_table(
        [("a", 3, 2, 1, 0, {"contaminated": 1}), ("b", 1078, 0, 78, 0, reasons)]
    )
    assert head.split() == ["source", "in", "kept", "dropped", "unaccounted", "dropped", "by", "reason"]
    assert few.split() == ["a", "3", "2", "1", "0", "contaminated", "1"]
    assert many[0].split()[:7] == ["b", "1,078", "0", "78", "0", "reason_11", "12,"]
    assert " ".join(" ".join(many).split()).endswith(", ".join(f"reason_{n} {n + 1}" for n in range(10, -1, -1)))
    assert max(map(len, many)) <= 140
