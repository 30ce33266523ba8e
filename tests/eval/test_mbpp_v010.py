"""MBPP with the tests of EvalPlus v0.1.0: inputs of JSON become the arguments that the tasks mean."""

import pytest

from codeft_eval.benchmarks.mbpp_v010 import reader
from codeft_eval.sandbox.pool import Sandbox


def row(task, name, solution, inputs, atol=0):
    return {
        "task_id": f"Mbpp/{task}",
        "prompt": '"""\nWrite it.\n"""\n',
        "entry_point": name,
        "canonical_solution": solution,
        "base_input": inputs[:1],
        "plus_input": inputs[1:],
        "atol": atol,
    }


MATCH = "import re\ndef text_match_three(s):\n    return re.search('a', s)\n"
SURFACE = "def surface_Area(b, s):\n    return 2 * b * s + b * b\n"
ROWS = {
    "tuples": row(2, "f", "def f(a, b):\n    return type(a).__name__, a + b\n", [[[1], [2]], [[], [3]]]),
    "tuples in lists": row(63, "f", "def f(a):\n    return {x: 1 for x in a}\n", [[[[1, 2]]], [[[3, 4], [5, 6]]]]),
    "sets": row(115, "f", "def f(a):\n    return [x == {1} for x in a]\n", [[[[1], []]], [[[2]]]]),
    "complex": row(124, "f", "def f(a, b):\n    return (a + b).imag\n", [["1", "2j"], ["0", "-1j"]], 0.0001),
    "all tuples": row(580, "f", "def f(a):\n    return hash(a)\n", [[[1, [2]]], [[3, [4, [5]]]]]),
    "plain": row(999, "f", "def f(a):\n    return [x + 0.1 for x in a]\n", [[[0.2]], [[0.7, 1.1]]]),
    "either a match or none": row(16, "text_match_three", MATCH, [["a"], ["b"]]),
    "height or edge": row(581, "surface_Area", SURFACE, [[3, 4], [4, 5]]),
}
OTHERS = {
    "plain": "def f(a):\n    return [x + 0.1000001 for x in a]\n",
    "either a match or none": "def text_match_three(s):\n    return 'a' in s\n",
    "height or edge": "def surface_Area(b, h):\n    return round(b ** 2 + 2 * b * ((b / 2) ** 2 + h ** 2) ** 0.5)\n",
}
"""Other right programs."""


@pytest.fixture(scope="module")
def grade():
    with Sandbox(num_workers=1) as sandbox:
        yield lambda name, source, *columns: _grade(sandbox, ROWS[name], source, columns)


def _grade(sandbox, given, source, columns):
    (item,) = reader(*(columns or ("base_input", "plus_input")))([given], ())
    return sandbox.run([item.to_program(source)])[0].verdict


@pytest.mark.parametrize("name", ROWS)
def test_the_canonical_solution_passes_and_an_empty_one_does_not(grade, name):
    function = ROWS[name]["entry_point"]
    assert grade(name, ROWS[name]["canonical_solution"]) == "passed"
    assert grade(name, f"def {function}(*a):\n    return 'nothing'\n" if "match" not in name else "\n") == "failed"


@pytest.mark.parametrize("name", OTHERS)
def test_a_task_accepts_what_its_tests_accept(grade, name):
    assert grade(name, OTHERS[name]) == "passed"


def test_the_base_tests_are_the_first_inputs_alone(grade):
    source = "def f(a):\n    return [x + 0.1 for x in a] if len(a) == 1 else a\n"
    assert (grade("plain", source, "base_input"), grade("plain", source)) == ("passed", "failed")
