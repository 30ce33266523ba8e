"""Inputs of the evaluation by the shell, and the samples as a view."""

import json

import duckdb
import polars as pl
import pytest

from codeft_assets.defs.assets.scores import leaked_items, trained_tokens
from codeft_assets.store.catalog import write_catalog
from codeft_assets.store.data_root import Store
from codeft_eval.generation.checkpoints import checkpoint_hash
from tests.eval.score_folders import write_scores

NONE_LEAKED = {"competition_math": [], "composed": [], "composed_basic": [], "embedded": []}


def test_leaked_items_are_named_once_and_a_benchmark_without_any_is_there():
    tasks = ["GSM8K/2", "GSM8K/1", "GSM8K/1"]
    found = pl.DataFrame({"document_id": list("abc"), "benchmark": "gsm8k", "task_id": tasks, "view": "words"})
    assert json.loads(leaked_items(found)) == NONE_LEAKED | {"gsm8k": ["GSM8K/1", "GSM8K/2"]}


def test_the_document_that_an_item_was_made_of_is_no_leak_and_another_that_holds_it_is():
    rows = [("a", "1", "document"), ("a", "1", "words"), ("b", "2", "document"), ("c", "2", "words")]
    found = pl.DataFrame(rows, schema=["document_id", "task_id", "view"], orient="row")
    found = found.with_columns(benchmark=pl.lit("competition_math"))
    assert json.loads(leaked_items(found)) == NONE_LEAKED | {"competition_math": ["2"]}


@pytest.fixture
def training(tmp_path):
    folder = tmp_path / "training"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "config.json").write_text("{}")
    (folder / "checkpoint" / "model.safetensors").write_bytes(b"weights")
    (folder / "result.json").write_text(json.dumps({"num_tokens_seen": 12345}))
    return folder


def test_tokens_are_those_of_the_checkpoint_that_was_scored(tmp_path, training):
    scores = write_scores(tmp_path / "s", [1], model_hash=checkpoint_hash(training / "checkpoint")) / "scores.json"
    assert trained_tokens(training, scores) == 12345
    (training / "checkpoint" / "model.safetensors").write_bytes(b"trained on, not scored yet")
    assert trained_tokens(training, scores) is None
    assert trained_tokens(training, tmp_path / "none.json") is None


def test_every_sample_of_ours_and_of_a_measured_reference_is_a_row_of_the_view(tmp_path):
    root = tmp_path / "it's home"
    hostile = {0: "'); DROP VIEW samples; --", 1: "line\n\ud800 end"}
    write_scores(root / "files/scores/embedded", [1], completions=hostile)
    write_scores(root / "files/scores/reference_measured/Qwen2.5-Coder-0.5B/embedded", range(30))
    path = write_catalog(Store(str(root)))
    with duckdb.connect(str(path), read_only=True) as connection:
        counts = connection.sql(
            "SELECT model, count(*), count(*) FILTER (verdict = 'passed') FROM samples GROUP BY model ORDER BY model"
        ).fetchall()
        completion = connection.sql("SELECT completion FROM samples WHERE model = 'ours' LIMIT 1").fetchall()
    assert counts == [("Qwen2.5-Coder-0.5B", 44, 30), ("ours", 44, 1)]
    assert completion == [(hostile[0],)]


def test_without_samples_there_is_no_view(tmp_path):
    path = write_catalog(Store(str(tmp_path)))
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.sql("FROM duckdb_views() WHERE view_name = 'samples'").fetchall() == []
