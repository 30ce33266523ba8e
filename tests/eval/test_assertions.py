"""An assertion in a loop that never turned proves nothing; a right program is not failed for one that had no turn."""

import pytest

from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Program
from codeft_eval.sandbox.python.assertions import counted_assertions, without_marks

ANSWERS = {"full": "    return [1, 2]", "empty": "    return []", "no turns": "    return iter(())"}
LOOPS = {
    "of the module": "for x in f(): assert x > 0",
    "of check": "def check(candidate):\n    for x in candidate():\n        assert x > 0\n",
    "while": "found = list(f())\nwhile found:\n    assert found.pop() > 0",
    "nested": "for row in [f(), f()]:\n    for x in row:\n        assert (x >\n            0), 'é'  # ; \n",
    "two on a line, of which one runs": "assert f() is not None; y = 0\nfor x in f(): y = x; assert y; assert x",
    "of the other system": "for x in f():\r\n    assert x > 0\r\n",
}
NEEDLESS = {
    "under a condition": "for x in [1]:\n    if x == 2:\n        assert f() == 3",
    "after continue": "for x in [1]:\n    if x == 1:\n        continue\n    assert f() == 3",
    "in a handler": "for x in [1]:\n    try:\n        f()\n    except ValueError:\n        assert False",
    "after a return": "def check(candidate):\n    for x in [1]:\n        return\n        assert False",
    "in a helper that nobody calls": "def helper():\n    for x in []:\n        assert x",
    "in a text": "text = '''\nfor x in []:\n    assert x\n'''\nassert len(list(f())) == 2",
}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(num_workers=1) as sandbox:
        yield sandbox


def grades(sandbox, answers, tests):
    programs = [
        Program(key=f"{answer} {name}", source=f"def f():\n{ANSWERS[answer]}", entry_point="f", test=test)
        for answer in answers
        for name, test in tests.items()
    ]
    return {grade.key: grade for grade in sandbox.run(programs)}


def test_an_assertion_in_a_loop_without_turns_is_no_pass(sandbox):
    found = grades(sandbox, ["empty", "no turns"], LOOPS)
    assert {key: grade.reason for key, grade in found.items() if grade.reason != "wrong_answer"} == {}
    assert found["empty of check"].detail == "never ran: assert x > 0"
    assert found["empty nested"].detail == "never ran: assert (x >"


def test_a_program_passes_when_each_loop_turned(sandbox):
    assert {grade.verdict for grade in grades(sandbox, ["full"], LOOPS | NEEDLESS).values()} == {"passed"}


@pytest.mark.parametrize("test", NEEDLESS.values(), ids=NEEDLESS)
def test_an_assertion_that_a_right_program_may_pass_by_is_not_counted(test):
    assert counted_assertions(test) == (test, ())


@pytest.mark.parametrize("test", [*LOOPS.values(), "for x in [", "for x in []: assert x\x00"])
def test_counting_changes_no_line_that_a_verdict_shows(test):
    text, lines = counted_assertions(test)
    author = test.replace("\r\n", "\n").split("\n")
    assert [without_marks(line) for line in text.split("\n")] == author
    assert all("assert" in author[line - 1] for line in lines)
