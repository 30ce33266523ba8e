"""The end of the demo: a curve of the steps that were scored, and one program of the model."""

import json

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.scoring.progress import curve_text, passing_points, program_text, progress_text

BENCHMARK = BENCHMARKS["composed_basic"]
ITEMS = load_items(BENCHMARK)[:2]


def sample(item, verdict, completion, reason="passed"):
    return {
        "task_id": item.task_id,
        "prompt": item.prompt,
        "completion": completion,
        "verdict": verdict,
        "reason": reason,
    }


def test_the_curve_is_of_the_benchmarks_own_completions(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    wrong, right = {ITEMS[0].task_id: "    return\n", "codeft/0": ""}, {item.task_id: item.solution for item in ITEMS}
    entries = [{"step": 20, "completions": wrong}, {"step": 30, "loss": 1.0}, {"step": 40, "completions": right}]
    metrics.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert passing_points(metrics, BENCHMARK) == [(20, 0.0, 1), (40, 1.0, 2)]
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample(ITEMS[1], "passed", ITEMS[1].solution)) + "\n")
    shown = progress_text(metrics, tmp_path, BENCHMARK)
    assert "step 20  " in shown
    assert "100% of 2" in shown
    assert "The last checkpoint passes 1 of 1." in shown
    assert ITEMS[1].prompt + ITEMS[1].solution.rstrip() in shown


def test_a_run_that_was_never_scored_says_so():
    assert "No step was scored" in curve_text([])


def test_the_longest_program_that_passes_is_shown_or_else_one_that_fails_with_its_reason():
    failed = sample(ITEMS[0], "failed", "    return 12345678901234567890\n", "wrong_answer")
    passed = sample(ITEMS[1], "passed", "    return 1\n")
    assert program_text([failed, passed]).startswith(f"{ITEMS[1].task_id} passes all its tests")
    assert program_text([failed]).startswith(f"{ITEMS[0].task_id} fails: wrong_answer")
    assert program_text([]) == "No program was scored."
