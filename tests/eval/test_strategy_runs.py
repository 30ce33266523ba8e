"""Strategies on finished runs: scores of their own, controls beside them, and no claim that the items cannot show."""

import json
from dataclasses import replace

import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoreboard.publish import publish
from codeft_eval.scoring.checkpoint_writer import open_writer
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.samples import Completion, Sample, sample_lines
from codeft_eval.scoring.scores import make_score, write_score
from codeft_eval.scoring.solving import solve_prompt
from codeft_eval.scoring.stored_runs import read_runs
from codeft_eval.scoring.strategy_runs import finding, solve_runs
from codeft_eval.statistics.comparison import paired
from tests.eval.checkpoints import write_checkpoint

ITEMS = load_items(BENCHMARKS["embedded"])[:8]
WRONG = "    return None\n"
OPTIONS = Options(log=lambda text: None)


def write_run(folder, texts, *, temperature=0.0, model_hash="a" * 64, protocol_name="raw"):
    """A finished run on the first items; each text with the verdict that its own tests gave, as ``texts`` says."""
    samples = [
        Sample(
            Completion(item, number, text),
            Grade(key=item.task_id, verdict=verdict, reason=verdict, isolation="namespaces"),
        )
        for item, own in zip(ITEMS, texts, strict=True)
        for number, (text, verdict) in enumerate(own)
    ]
    lines = sample_lines(samples, protocol_name)
    identity = {"model": "ours", "model_hash": model_hash, "settings": {"temperature": temperature}, "tier": "t"}
    identity |= {"protocol_name": protocol_name, "protocol": "completion", "tainted": False, "tool_versions": {}}
    score = make_score(BENCHMARKS["embedded"], samples, lines, **identity, num_items_total=44)
    write_score(folder, score, lines, {})
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A greedy run of which nothing passes, and samples of which the third passes, but for the last two items."""
    folder = tmp_path_factory.mktemp("runs")
    greedy = write_run(folder / "greedy", [[(WRONG, "failed")] for _ in ITEMS])
    third = [item.solution for item in ITEMS[:-2]] + [WRONG, WRONG]
    samples = [
        [(WRONG, "failed"), ("    return 0 / 0\n", "failed"), (text, "failed" if text == WRONG else "passed")]
        for text in third
    ]
    return [greedy, write_run(folder / "samples", samples, temperature=0.8)]


@pytest.fixture(scope="module")
def solved(runs, tmp_path_factory):
    output = tmp_path_factory.mktemp("solved")
    return output, {result.strategy: result for result in solve_runs(runs, ["greedy", "examples"], output, OPTIONS)}


def test_a_strategy_is_a_score_of_its_own_with_its_cost_and_control(solved):
    output, results = solved
    own = results["examples"]
    assert (own.score.name, own.score.title) == ("embedded-examples", "Embedded functions (examples)")
    assert own.score.metrics["pass@1"].value == 6 / 8
    assert own.score.num_samples == 4
    assert (own.control, own.control_rate) == ("any attempt", pytest.approx(6 / 8 / 4))
    sizes = [len(problem.prompt.encode()) * 4 + len(WRONG) * 2 + len("    return 0 / 0\n") for problem in ITEMS]
    sizes = [size + len(ITEMS[n].solution.encode() if n < 6 else WRONG) for n, size in enumerate(sizes)]
    assert own.num_tokens == own.control_tokens == sum(sizes)
    assert sum(own.fallbacks.values()) == 2
    assert "| bytes | control at equal bytes | its bytes |" in (output / "strategies.md").read_text()
    assert results["greedy"].score.metrics["pass@1"].value == 0
    assert json.loads((output / "strategies.json").read_text())["rows"][1]["num_tokens"] == own.num_tokens


def test_the_scoreboard_has_it_as_a_row_beside_its_control_and_never_in_a_mean(runs, solved, tmp_path):
    board = publish([runs[0], solved[0] / "examples"], tmp_path).board
    rows = {row.reference_model: row for row in board.rows if row.score_name == "embedded-examples"}
    assert set(rows) == {"control: any of the same attempts", "the first attempt alone"}
    assert rows["the first attempt alone"].comparison.gained == tuple(item.task_id for item in ITEMS[:6])
    assert all(row.comparison.detectable > 0 for row in rows.values())
    (python,) = board.by_language
    assert (python.ours.n, python.ours.value) == (8, 0.0)
    alone = publish([solved[0] / "examples"], tmp_path / "alone").board
    assert alone.by_language[0].ours.value == 6 / 8


def test_a_strategy_gets_the_problems_of_a_run_without_their_tests(runs):
    found = read_runs(runs, len)
    assert [item.test for item in found.items] == [item.test for item in ITEMS]
    assert {(one.item.test, one.item.solution, one.item.answer) for one in found.problems} == {("", "", "")}


def test_no_published_figure_stands_beside_a_strategy():
    from codeft_eval.scoreboard.reference import published_for

    assert published_for(BENCHMARKS["humaneval"], "raw")
    assert published_for(BENCHMARKS["humaneval"], "examples") == []


def test_a_difference_below_the_detectable_is_no_finding():
    items = [str(number) for number in range(164)]
    small = paired({item: float(int(item) < 9) for item in items}, dict.fromkeys(items, 0.0))
    large = paired({item: float(int(item) < 60) for item in items}, dict.fromkeys(items, 0.0))
    assert finding(large, 0.001) == "better"
    assert finding(large, 0.2) == "no difference shown"
    assert finding(replace(small, detectable=0.2), 0.001) == "no difference shown"
    assert finding(paired(dict.fromkeys(items, 0.0), {item: float(int(item) < 60) for item in items}), 0.01) == "worse"


def test_runs_that_do_not_belong_together_are_refused(runs, tmp_path):
    other = write_run(tmp_path / "other", [[(WRONG, "failed")] for _ in ITEMS], model_hash="b" * 64)
    with pytest.raises(ValueError, match="differs from the first run in model_hash"):
        solve_runs([runs[0], other], ["examples"], tmp_path / "out", OPTIONS)
    chat = write_run(tmp_path / "chat", [[(WRONG, "failed")] for _ in ITEMS], protocol_name="chat")
    with pytest.raises(ValueError, match="protocol 'chat'"):
        solve_runs([chat], ["examples"], tmp_path / "out", OPTIONS)
    with pytest.raises(ValueError, match="give a greedy run first"):
        solve_runs([runs[1]], ["greedy"], tmp_path / "out", OPTIONS)
    with pytest.raises(ValueError, match="give --checkpoint"):
        solve_runs(runs, ["refine"], tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()
    changed = write_run(tmp_path / "changed", [[(WRONG, "failed")] for _ in ITEMS])
    lines = (changed / "samples.jsonl").read_text().replace('"failed"', '"passed"')
    (changed / "samples.jsonl").write_text(lines)
    with pytest.raises(ValueError, match="was changed after its score was written"):
        solve_runs([changed], ["examples"], tmp_path / "out", OPTIONS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", context_tokens=1024)


def test_a_prompt_is_solved_by_a_checkpoint(checkpoint, tmp_path, capsys):
    prompt = tmp_path / "prompt.py"
    prompt.write_text('def double(n: int) -> int:\n    """Return twice n.\n\n    >>> double(2)\n    4\n    """\n')
    options = ["--checkpoint", str(checkpoint), "--num-samples", "2", "--strategy", "examples"]
    assert main(["solve", "--prompt", str(prompt), *options]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(prompt.read_text().rstrip())
    assert (
        "examples: no attempt passes the prompt's examples; this is the first attempt; attempts drawn: 3" in printed.err
    )
    assert "attempts drawn: 1," in solve_prompt(checkpoint, prompt.read_text(), "refine", OPTIONS).summary
    for bad, reason in (("x = 1", "defines no function"), ("def f(:", "is no Python")):
        with pytest.raises(ValueError, match=reason):
            solve_prompt(checkpoint, bad, "examples", OPTIONS)


def test_a_command_without_its_parts_says_which(capsys, checkpoint, tmp_path):
    for arguments, reason in (
        ([], "either --prompt"),
        (["--prompt", "-"], "needs --checkpoint"),
        (["--runs", str(tmp_path)], "needs --output"),
    ):
        assert main(["solve", *arguments]) == 2
        assert reason in capsys.readouterr().err


def test_a_writers_answers_are_its_own_and_found_again(checkpoint, tmp_path):
    writer = open_writer(checkpoint, BENCHMARKS["embedded"].own_protocol, OPTIONS, tmp_path)
    items = [replace(item, test="", solution="", answer="") for item in ITEMS[:2]]
    first = writer.complete(items)
    assert first == writer.complete(items)
    assert [attempt.num_tokens for attempt in first] == [
        writer.num_tokens(item.prompt) + writer.num_tokens(attempt.text)
        for item, attempt in zip(items, first, strict=True)
    ]
    drawn = writer.draw(items, 2, temperature=0.8)
    assert drawn[0][0] != drawn[0][1]
    (likely, unlikely) = writer.log_likelihoods([("def f", "(x)"), ("def f", "(x) and much more")])
    assert unlikely < likely < 0
