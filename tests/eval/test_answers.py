"""EvalPlus' tests and MATH's answers: what is equal, and what is asked in one message."""

import json

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.benchmarks.competition_math import read_competition_math
from codeft_eval.benchmarks.humaneval_plus import read_humaneval_plus, read_humaneval_plus_mini
from codeft_eval.benchmarks.math import read_math
from codeft_eval.benchmarks.math_answers import boxed_answer, stated_answer
from codeft_eval.benchmarks.math_equality import is_same_answer
from codeft_eval.benchmarks.mbpp import evalplus_tasks
from codeft_eval.benchmarks.mbpp_plus import read_mbpp_plus
from codeft_eval.scoring.graders import open_grader

PROMPT = 'def half(x):\n    """Half."""\n'
MINI = {
    "task_id": "t", "prompt": PROMPT, "canonical_solution": "    return x / 2\n", "entry_point": "half",
    "base_input": [[1], [3]], "plus_input": [[i] for i in range(200)], "atol": 0,
}  # fmt: skip
HUB_TEST = """
import numpy as np
def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64
    return False
def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match
"""
LOOP = """inputs = [[1], [3]]
results = [0.5, 1.5]
for i, (inp, exp) in enumerate(zip(inputs, results)):
    assertion({function}(*inp), exp, 0)
"""


def grade(item, completions):
    with open_grader(BENCHMARKS["embedded"]) as grader:
        return [outcome.reason for outcome in grader.grade([item] * len(completions), completions)]


def test_the_canonical_solution_answers_evalplus_inputs_within_its_tolerance():
    item = next(iter(read_humaneval_plus_mini([MINI], ())))
    texts = [
        "    return x / 2\n", "    return x * 0.5 + 1e-8\n", "    return x * 0.5 + 1e-4\n",
        "    return x / 2 if x < 199 else 0\n", "    raise ValueError if x == 150 else 1\n", "",
    ]  # fmt: skip
    assert grade(item, texts) == ["passed", "passed", "wrong_answer", "wrong_answer", "exception", "wrong_answer"]


def test_two_hundred_inputs_are_asked_in_four_messages(monkeypatch):
    from codeft_eval.sandbox.python import rpc_batch as module

    class RpcChannel:
        def __init__(self):
            self.requests = []

        def encode(self, value):
            return value

        decode = encode

        def exchange(self, request):
            self.requests.append(request)
            return {"value": [{"value": call[0] * 2} for call in request[2]]}

    class RemoteProxy:
        def __init__(self, channel):
            self._channel, self._handle = channel, 7

    monkeypatch.setattr(module, "RemoteProxy", RemoteProxy)
    channel = RpcChannel()
    calls = [[i] for i in range(200)]
    function = module.call_batched(RemoteProxy(channel), calls)
    assert [function(*call) for call in calls] == [2 * i for i in range(200)]
    assert len(channel.requests) == 4


def test_a_hub_test_runs_without_numpy_and_in_few_messages():
    check = (
        HUB_TEST
        + "def check(candidate):\n"
        + "".join("    " + line + "\n" for line in LOOP.format(function="candidate").splitlines())
    )
    row = {"task_id": "t", "prompt": PROMPT, "canonical_solution": "", "entry_point": "half", "test": check}
    item = next(iter(read_humaneval_plus([row], ())))
    assert "import numpy" not in item.test
    assert "candidate = call_batched(candidate, inputs)" in item.test
    assert grade(item, ["    return x / 2\n", "    return x\n"]) == ["passed", "wrong_answer"]


def test_an_mbpp_plus_row_is_prompted_by_a_docstring_and_tested_by_both_sets():
    row = {
        "task_id": 2, "prompt": "Halve.", "code": "def half(x):\r\n  return x / 2", "test_imports": ["import math"],
        "test_list": ["assert half(8) == 4"], "test": HUB_TEST + LOOP.format(function="half"),
    }  # fmt: skip
    item = next(iter(read_mbpp_plus([row], ())))
    assert item.prompt == '"""\nHalve.\nassert half(8) == 4\n"""\n'
    wrong_base, wrong_plus = "return 5 if x == 8 else x / 2", "return x / 2 if x == 8 else 0"
    texts = [item.solution, f"def half(x):\n    {wrong_base}\n", f"def half(x):\n    {wrong_plus}\n"]
    assert grade(item, texts) == ["passed", "wrong_answer", "wrong_answer"]


def test_a_match_is_true_for_tests_that_ask_only_that_and_equals_nothing():
    row = MINI | {"canonical_solution": "    return True\n"}
    item = next(iter(read_humaneval_plus_mini([row], ())))
    from dataclasses import replace

    source = "    import re\n    return re.search('a', x)\n"
    asks = replace(item, test="assert half('abc')\nassert not half('xyz')")
    equals = replace(item, test="assert half('abc') == 1")
    assert (grade(asks, [source]), grade(equals, [source])) == (["passed"], ["wrong_answer"])


def test_the_399_tasks_are_those_of_the_reference_verdicts():
    assert len(evalplus_tasks()) == 399


@pytest.mark.parametrize(
    ("given", "expected", "is_same"),
    [
        (r"\frac12", r"\dfrac{1}{2}", True),
        ("1/2", r"\frac{1}{2}", True),
        ("0.5", r"\frac{1}{2}", True),
        ("1,234", "1234", True),
        (r"12\text{ cm}", "12", True),
        (r"\text{Monday}", "Monday", True),
        (r"x=5", "5", True),
        (r"\left( 1, 2 \right)", "(1,2)", True),
        (r"90^\circ", "90", True),
        (r"\$5.00", "5", True),
        (r"\sqrt2", r"\sqrt{2}", True),
        ("-\\frac{3}{4}", "-0.75", True),
        ("0.33", r"\frac{1}{3}", False),
        ("(1,2)", "(2,1)", False),
        ("1,23", "123", False),
        (r"\frac{1}{0}", "1", False),
        ("", "0", False),
    ],
)
def test_answers_are_equal_by_text_or_value(given, expected, is_same):
    assert is_same_answer(given, expected) is is_same


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"first \boxed{1}, then \fbox{2}", "2"),
        (r"\boxed 7$", "7"),
        (r"\boxed{1", None),
        ("The answer is 12. Done", "12"),
        ("no idea", None),
    ],
)
def test_the_answer_that_a_completion_states(text, answer):
    assert stated_answer(text) == answer
    assert boxed_answer("nothing") is None


def test_a_math_item_shows_its_examples_and_a_competition_item_without_answer_is_unscored():
    rows = [{"problem": "1+1?", "solution": r"It is $\boxed{2}$.", "idx": 0}]
    item = next(iter(read_math(rows, rows)))
    assert item.prompt == "Problem:\n1+1?\n\nSolution:\nIt is $\\boxed{2}$.\n\nProblem:\n1+1?\n\nSolution:"
    assert item.answer == "2"
    row = {"task_id": "c/0", "problem": "Show it.", "solution": "Clear.", "answer": ""}
    open_item = next(iter(read_competition_math([row], ())))
    with open_grader(BENCHMARKS["competition_math"]) as grader:
        found = grader.grade([item, item, open_item], [r"\boxed{2.0}", r"\boxed{3}", "Clear."])
    assert [outcome.reason for outcome in found] == ["passed", "wrong_answer", "no_reference_answer"]
    assert json.dumps(found[2].verdict) == '"unscored"'
