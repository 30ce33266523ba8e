"""The catalog on the command line: help is help, and an empty data root is no traceback."""

import pytest

from codeft_assets import catalog


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
