"""The references in the package were measured under today's benchmarks, hold no texts, and give the demo its ratio."""

import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import BENCHMARKS, data_sha256, is_available
from codeft_eval.scoreboard.shipped_references import shipped_references
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import read_measurement
from tests.eval.score_folders import write_scores

SHIPPED = shipped_references()
QWEN = "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M"


@pytest.mark.parametrize(("name", "folder"), SHIPPED)
def test_a_reference_was_measured_under_the_benchmark_as_it_is(name, folder):
    measured = read_measurement(folder)
    benchmark = BENCHMARKS[measured.score.benchmark]
    protocol = benchmark.find_protocol(measured.score.protocol_name)
    assert (measured.score.model, measured.score.version) == (name, benchmark.version)
    assert measured.score.protocol == protocol.words
    if is_available(benchmark):
        assert measured.score.data_sha256 == data_sha256(benchmark)
    assert len(measured.pass_rates) == measured.score.num_items_total
    assert not {"prompt", "completion", "detail", "stderr"} & {key for row in read_samples(folder) for key in row}


def test_both_models_are_measured_on_what_every_machine_has():
    found = {(name, read_measurement(folder).score.benchmark) for name, folder in SHIPPED}
    assert {name for name, _ in found} == {QWEN, "SmolLM2-135M-Instruct-Q4_1"}
    assert {benchmark for name, benchmark in found if name == QWEN} >= {"embedded", "composed", "composed_basic"}


def test_the_scoreboard_of_a_newcomer_has_a_ratio_to_qwen(tmp_path, capsys):
    scores = write_scores(tmp_path / "embedded", range(10))
    assert main(["scoreboard", "--scores", str(scores), "--output", str(tmp_path / "board")]) == 0
    page = capsys.readouterr().out
    assert f"0.50 (0.25–0.88) of {QWEN}'s on Embedded functions, measured" in page
    board = (tmp_path / "board" / "scoreboard.md").read_text()
    assert f"itself on Embedded functions; every comparison, below, has those to {QWEN}" in board
