"""Traced monologues: the last value is the doctest's, each step is what Python did, and none is too long."""

import json
import random
import re
import sys

import pytest

from codeft_assets.exercises.__main__ import main
from codeft_assets.exercises.exercise import make_exercise, python_code
from codeft_assets.exercises.monologue import MAX_STEPS, MIN_STEPS, describe_call, trace_call
from codeft_assets.exercises.views import TRACE, exercise_row, trace_view
from codeft_training.data.thoughts import split_thoughts

LOOP = "def f(xs):\n    total = 0\n    for x in xs:\n        if x > 1:\n            total += x\n    return total\n"


def rows(number):
    """The first traced rows of a seed, with their exercises."""
    found, place = [], 0
    while len(found) < number:
        row = exercise_row(5, place, views={TRACE: 1.0}, javascript_share=0.3)
        if row["view"] == TRACE:
            found.append((make_exercise(5, place), row))
        place += 1
    return found, place


def test_the_last_value_of_fifty_monologues_is_the_doctests():
    found, tried = rows(50)
    for exercise, row in found:
        thought, answer = row["response"].removeprefix("<think>\n").split("\n</think>\n\n")
        call = re.match(r"What does `(.+)` return\?", row["prompt"])[1]
        (value,) = [
            value for arguments, value in exercise.examples if call.endswith(f"({', '.join(map(repr, arguments))})")
        ]
        assert answer == f"`{value!r}`"
        assert thought.splitlines()[-1].endswith(f" returns {value!r}.")
        assert MIN_STEPS < len(thought.splitlines()) <= MAX_STEPS + 1
        assert call in python_code(exercise)  # of the docstring
    assert tried < 400


def test_each_step_is_what_the_line_did():
    assert describe_call(LOOP, "f", ([1, 2],)).splitlines() == [
        "The call begins with xs = [1, 2].",
        "`total = 0`: total is 0.",
        "`for x in xs:`: x is 1.",
        "`if x > 1:`: false.",
        "`for x in xs:`: x is 2.",
        "`if x > 1:`: true.",
        "`total += x`: total is 2.",
        "`for x in xs:`: nothing changes.",
        "`return total` returns 2.",
    ]


def test_a_comprehension_is_one_step():
    code = "def f(xs):\n    a = [x * 2 for x in xs]\n    b = sorted(a, key=lambda x: -x)\n    return b\n"
    assert describe_call(code, "f", ([1, 3],)).splitlines()[1:] == [
        "`a = [x * 2 for x in xs]`: a is [2, 6].",
        "`b = sorted(a, key=lambda x: -x)`: b is [6, 2].",
        "`return b` returns [6, 2].",
    ]


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (LOOP, (list(range(30)),)),
        ("def f(x):\n    y = 1\n    z = 2\n    return x / 0\n", (1,)),
        ("def f(x):\n    y = 1\n    z = 'a' * 100\n    return y\n", (1,)),
        ("def f(x):\n    return x\n", (1,)),
    ],
    ids=["too long", "raises", "a long value", "too short"],
)
def test_a_call_that_makes_no_monologue_makes_none(code, arguments):
    before = sys.gettrace()
    assert describe_call(code, "f", arguments) is None
    assert sys.gettrace() is before


def test_a_trace_ends_before_a_loop_that_would_take_long():
    assert trace_call("def f(n):\n    i = 0\n    while i < n:\n        i += 1\n    return i\n", "f", (10_000,)) is None


def test_the_thought_of_a_row_is_a_think_span_that_training_can_mask():
    found, _ = rows(3)
    for _, row in found:
        pieces = list(split_thoughts(row["response"]))
        assert [is_thought for _, is_thought in pieces][-1] is False
        assert (
            "".join(text for text, is_thought in pieces if not is_thought) == row["response"].split("</think>\n\n")[1]
        )


def test_rows_of_other_views_stay_as_they_are():
    """The draw of an exercise does not depend on the new view."""
    exercise = make_exercise(5, 1)
    assert trace_view(exercise, random.Random(1)) == trace_view(exercise, random.Random(1))
    assert exercise_row(5, 1, views={"write": 1.0}, javascript_share=0.0)["text"] == python_code(exercise)


def test_the_command_writes_rows_of_the_view_that_was_asked_for_or_says_that_there_are_none(capsys):
    assert main(["--view", TRACE, "--number", "5"]) == 0
    assert [json.loads(line)["view"] for line in capsys.readouterr().out.splitlines()] == [TRACE] * 5
    assert main(["--view", TRACE, "--number", "1", "--subset", "basic"]) == 1
    assert "100 exercises of subset 'basic' make 0 rows of the view 'trace'" in capsys.readouterr().err
