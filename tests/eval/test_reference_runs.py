"""A reference is measured by our own harness where its weights can be had, and says why where not."""

import json
from dataclasses import replace

import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.scoreboard.publish import publish
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.reference_runs import (
    MEASURED_FILE,
    OFFLINE,
    find_weights,
    measure_references,
    measured_table,
)
from codeft_eval.scoring.runs import run_checkpoint
from tests.eval.checkpoints import write_checkpoint

SHORT = replace(BENCHMARKS["embedded"], max_new_tokens=8)
THREE = Options(limit=3, batch_size=2)
HUB_ID = "Qwen/Qwen2.5-Coder-0.5B"


def run(folder, benchmark, output):
    return (run_checkpoint(folder, benchmark, output, THREE),)


def never(folder, benchmark, output):
    raise AssertionError("there is nothing to run")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("reference") / "weights", seed=5)


def test_a_local_folder_is_measured_and_stands_on_the_scoreboard_as_measured(weights, tmp_path):
    ours = write_checkpoint(tmp_path / "ours", seed=6)
    run(ours, SHORT, tmp_path / "scores")
    (model,) = measure_references([("Qwen2.5-Coder-0.5B", str(weights))], [SHORT], tmp_path / "refs", run=run)
    assert (model.unreachable, model.benchmarks, model.scores[0].num_items) == ("", ("embedded",), 3)
    folder = tmp_path / "refs" / "Qwen2.5-Coder-0.5B" / "embedded"
    board = publish([tmp_path / "scores"], tmp_path / "board", references=[(model.name, folder)]).board
    assert {(row.reference_model, row.provenance) for row in board.rows} == {("Qwen2.5-Coder-0.5B", "measured")}
    assert {row.metric for row in board.rows} == {"pass@1", "bits_per_byte"}
    assert "| embedded" not in measured_table([model])
    assert "| 0.0 % (0.0–" in measured_table([model])


def test_weights_on_the_hub_are_fetched_at_a_revision_that_is_recorded(hub, weights, tmp_path):
    sha = hub.commit(HUB_ID, {path.name: path.read_bytes() for path in weights.iterdir()})
    (model,) = measure_references([("Qwen2.5-Coder-0.5B", HUB_ID)], [SHORT], tmp_path / "refs", run=run)
    assert (model.revision, model.unreachable) == (sha, "")
    (again,) = measure_references([("x", str(weights))], [SHORT], tmp_path / "refs", run=run)
    assert again.scores[0].content_hash == model.scores[0].content_hash
    recorded = json.loads((tmp_path / "refs" / MEASURED_FILE).read_text())
    assert recorded["models"][0]["name"] == "x"


def test_a_model_that_cannot_be_had_says_why_and_the_others_are_measured(hub, weights, tmp_path):
    models = [("absent", "Qwen/does-not-exist"), ("here", str(weights))]
    absent, here = measure_references(models, [SHORT], tmp_path / "refs", run=run)
    assert absent.unreachable.startswith("it is no folder, and the Hub answers with status 401")
    assert absent.scores == ()
    assert here.benchmarks == ("embedded",)
    assert "not measured: " in measured_table([absent])


def test_a_hub_that_is_down_says_so_and_the_command_succeeds(hub, tmp_path, capsys):
    hub.fail("/api/models/", status=503, times=100)
    command = [
        "measure",
        "--model",
        "q=Qwen/never-fetched",
        "--benchmark",
        "embedded",
        "--output",
        str(tmp_path / "refs"),
    ]
    assert main(command) == 0
    assert "not measured: " in capsys.readouterr().out


def test_the_hub_is_not_asked_when_only_local_weights_are_wanted(hub, tmp_path):
    found = measure_references([("q", HUB_ID)], [SHORT], tmp_path / "refs", run=never, may_download=False)
    assert found[0].unreachable == OFFLINE
    assert not hub.requests


def test_a_folder_needs_no_hub(weights):
    assert find_weights(str(weights), may_download=False) == (weights, "")


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden"])
def test_a_name_that_is_no_folder_name_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="give it a plain name"):
        measure_references([(name, "x")], [SHORT], tmp_path / "refs", run=never)
