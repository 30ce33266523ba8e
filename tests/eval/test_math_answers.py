"""The cases of tests/eval/cases/math_answers.jsonl: answers that are equal, that differ, and where they are stated."""

import json
import time

import pytest

from codeft_eval.benchmarks.gsm8k import GSM8K
from codeft_eval.benchmarks.math import MATH
from codeft_eval.benchmarks.math_answers import stated_answer
from codeft_eval.benchmarks.math_equality import is_same_answer
from tests.eval.case_files import read_cases

CASES = read_cases("math_answers.jsonl")
# Of cases that others wrote: equal texts said to differ, nothing said to be 18, and four hundred nines said to be nine.
UNTENABLE = {("math_differ", "90", "90"), ("gsm8k_equal", " #### ", "18"), ("gsm8k_equal", f" #### {'9' * 400}", "9")}


def is_as_said(case):
    kind, completion, answer = case["kind"], case["completion"], case["answer"]
    if kind == "stated_answer":
        return stated_answer(completion) == answer
    if kind.startswith("math"):
        return is_same_answer(completion, answer) == (kind == "math_equal")
    found = GSM8K.answer_check.find_answer(completion)
    return (found is not None and GSM8K.answer_check.is_equal(found, answer)) == (kind == "gsm8k_equal")


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case)[:100])
def test_an_answer_is_judged_as_its_case_says(case):
    if (case["kind"], case["completion"], case["answer"]) in UNTENABLE:
        pytest.skip("no honest comparison says so")
    assert is_as_said(case)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["kind"] == "math_equal"], ids=lambda case: json.dumps(case)[:100]
)
def test_every_answer_equals_itself(case):
    assert is_same_answer(case["answer"], case["answer"])
    assert is_same_answer(case["completion"], case["completion"])


@pytest.mark.parametrize(
    "text",
    [
        "(" * 390, "9^" * 190 + "9", "\\frac" * 80, "x^{9999}" * 40, "1000!" * 70, "\\text{" * 60, "a " * 195 + "^",
        "(1," * 130, "\\sqrt" * 70 + "2", "\\pm" * 130 + "1", "(\\pm1," * 60 + "1" + ")" * 60, "{1" * 5000,
        "9," * 50_000, "answer is " * 5000, "\\boxed{" * 20_000, "#### " * 20_000, "$" * 100_000,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_no_completion_keeps_the_grader_busy(text):
    started = time.process_time()
    is_same_answer(text, "5")
    is_same_answer(text + "1", text)
    stated_answer(text)
    GSM8K.answer_check.find_answer(text)
    assert time.process_time() - started < 2


def test_generation_stops_at_the_next_example_only():
    completion = " She sells 9 eggs.\n\nSo she makes 9 * 2 = 18.\n#### 18\n\nQuestion: Next?"
    cut = min(completion.find(stop) for stop in GSM8K.stops if stop in completion)
    assert GSM8K.answer_check.find_answer(completion[:cut]) == "18"
    assert all(stop.strip() for stop in (*GSM8K.stops, *MATH.stops))
