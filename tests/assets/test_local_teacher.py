"""A local model as a teacher: a tiny one with random weights, through the engine that evaluation uses."""

import json
import shutil

import pytest

from codeft_assets.teachers.__main__ import main
from codeft_assets.teachers.generate import read_parts
from tests.eval.checkpoints import write_checkpoint


def generate(teacher, output, *more):
    command = ["--teacher", str(teacher), "--output", str(output), "--only", "generate", "--statements", "2"]
    assert main([*command, *more]) == 0
    return json.loads((output / "generation.json").read_text())


def parts(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl.gz")}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("teacher") / "tiny", context_tokens=4096)


def test_a_second_run_asks_nothing_and_writes_the_same_parts(teacher, tmp_path):
    moved = tmp_path / "tiny"
    shutil.copytree(teacher, moved)
    first = generate(moved, tmp_path / "output", "--count", "6", "--round", "4")
    written = parts(tmp_path / "output")
    shutil.rmtree(moved)  # whoever asks it now fails
    second = generate(moved, tmp_path / "output", "--count", "6", "--round", "4")
    assert first["num_answers"] == second["num_answers"] == 6
    assert first["output_tokens"] == second["output_tokens"] > 0
    assert parts(tmp_path / "output") == written
    assert len(written) == 2


def test_rows_hold_the_task_and_each_sample_differs(teacher, tmp_path):
    generate(teacher, tmp_path, "--count", "4")
    rows = list(read_parts(tmp_path))
    assert len(rows) == 4
    assert [row["number"] for row in rows] == [0, 0, 1, 1]
    assert len({row["statement"] for row in rows}) == len({row["key"] for row in rows}) == 4


def test_a_limit_in_seconds_ends_after_a_round(teacher, tmp_path):
    summary = generate(teacher, tmp_path, "--count", "6", "--round", "2", "--seconds", "0")
    assert summary["num_statements"] == 2


def test_a_folder_without_a_model_is_an_error_with_its_remedy(tmp_path, capsys):
    assert main(["--teacher", str(tmp_path / "none"), "--output", str(tmp_path / "output"), "--only", "generate"]) == 1
    assert "give a folder that save_pretrained wrote" in capsys.readouterr().err
