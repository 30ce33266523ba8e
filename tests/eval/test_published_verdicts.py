"""Completions that others published get the verdicts that they published with them.

``CODEFT_PUBLISHED`` is the folder qwencoder-eval/base/outptus/qwen2.5-coder of QwenLM/Qwen2.5-Coder@d5ead97f, with the
items' own files in its folder ``benchmarks``, in ``math`` the files ``output/*_maj1.json`` of
wellecks/lm-evaluation-harness, branch open-web-math, and in ``gsm8k`` example_model_solutions.jsonl of
openai/grade-school-math; nothing of these is in this repository.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from codeft_eval.benchmarks.benchmark import PROGRAM
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.scoring.graders import open_grader
from tests.eval.toolchains import needs

VARIABLE = "CODEFT_PUBLISHED"


@pytest.fixture
def published(monkeypatch):
    """The folder, where there is one."""
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no folder of published completions")
    folder = Path(os.environ[VARIABLE])
    monkeypatch.setenv("CODEFT_BENCHMARKS", str(folder / "benchmarks"))
    return folder


def verdicts(name, items, programs):
    with open_grader(BENCHMARKS[name]) as grader:
        grades = grader.grade([replace(item, form=PROGRAM) for item in items], programs)
    return {grade.key: grade.verdict for grade in grades}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["1.5b-base", "7b-base"])
@pytest.mark.parametrize(("suffix", "language"), [("js", "javascript"), ("java", "java")])
def test_programs_of_multipl_e_get_their_published_verdicts(published, model, suffix, language):
    needs(language)
    rows = json.loads((published / model / "multipl-e" / f"humaneval-{suffix}-details.json").read_text())
    lines = (published / model / "multipl-e" / f"pred_{suffix}_output.jsonl").read_text().splitlines()
    texts = {number(row["task_id"]): row["generation"] for row in map(json.loads, lines)}
    theirs = {number(name): "passed" if runs[0][1]["passed"] else "failed" for name, runs in rows.items()}
    items = load_items(BENCHMARKS[f"multipl_e_{suffix}"])
    ours = verdicts(f"multipl_e_{suffix}", items, [texts[item.task_id] for item in items])
    assert len(ours) > 150
    assert {task: (ours[task], theirs[task]) for task in ours if ours[task] != theirs[task]} == {}


def number(name):
    return f"HumanEval/{name.split('_')[1]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "differing"),
    [("7b-base", {}), ("1.5b-base", {"Mbpp/123": "EvalPlus' limit is a multiple of the canonical solution's time"})],
)
def test_programs_of_mbpp_get_their_published_verdicts_with_the_tests_of_then(published, model, differing):
    theirs = json.loads((published / model / "evalplus" / "mbpp" / "generated_eval_results.json").read_text())["eval"]
    items = load_items(BENCHMARKS["mbpp_v010"])
    ours = verdicts("mbpp_v010", items, [theirs[item.task_id][0]["solution"] for item in items])
    found = {task for task in ours if (ours[task] == "passed") != (theirs[task][0]["base_status"] == "pass")}
    assert len(ours) == 399
    assert found <= differing.keys()


_READ_FURTHER = "upstream's reader took an answer to a later problem that the model made up"
_OTHER_MATH = {
    "Evaluate: $(2^2)^3$.": _READ_FURTHER,
    "What is the only integer whose square is less than its double?": _READ_FURTHER,
    "What is the sum of the first 10 odd positive integers?": _READ_FURTHER,
    "What is the value of the expression $x^2+ 5x-6$, when $x =-1$?": _READ_FURTHER,
}


@pytest.mark.slow
def test_answers_to_math_get_their_published_verdicts(published):
    files = sorted((published / "math").glob("*.json"))
    rows = [row for file in files for row in json.loads(file.read_text())["cache"]["math_algebra_easy"]]
    differing = {row["problem"] for row in rows if is_right(row) != bool(row["acc"])}
    assert len(rows) == 890
    assert differing <= _OTHER_MATH.keys()


def is_right(row):
    check, stops = BENCHMARKS["math"].answer_check, BENCHMARKS["math"].stops
    return is_answered(check, row["metadata"]["candidates"].split(stops[0])[0], row["answer"])


def is_answered(check, completion, answer):
    given = check.find_answer(completion)
    return given is not None and check.is_equal(given, answer)


@pytest.mark.slow
def test_answers_to_gsm8k_get_their_published_verdicts(published):
    """The file writes the mark of the answer as "A:"."""
    rows = map(json.loads, (published / "gsm8k" / "example_model_solutions.jsonl").read_text().splitlines())
    solved = [(row["ground_truth"].split("A: ")[-1], tried) for row in rows for tried in row.values()]
    pairs = [(answer.replace(",", ""), tried) for answer, tried in solved if isinstance(tried, dict)]
    check = BENCHMARKS["gsm8k"].answer_check
    ours = [is_answered(check, tried["solution"].replace("\nA:", "\n####"), answer) for answer, tried in pairs]
    assert len(pairs) == 5276
    assert ours == [tried["is_correct"] for _, tried in pairs]
