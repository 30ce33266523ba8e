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
