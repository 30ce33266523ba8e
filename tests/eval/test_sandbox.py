"""A remote call behaves like a call: honest programs and tests work in two processes as they would in one."""

import os

import pytest

from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits, Program
from codeft_eval.sandbox.python.global_names import global_names


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(num_workers=1) as sandbox:
        yield sandbox


def grade(sandbox, source, test, entry_point="f", prelude=""):
    return sandbox.run([Program(key="x", source=source, entry_point=entry_point, test=test, prelude=prelude)])[0]


HONEST = {
    "changes its argument": ("def f(x):\n    x.append(1)", "x = [0]\nassert f(x) is None\nassert x == [0, 1]"),
    "returns its argument": (
        "def f(x):\n    x.sort()\n    return x",
        "x = [2, 1]\nassert f(x) is x\nassert x == [1, 2]",
    ),
    "leaves its argument": ("def f(x):\n    return sorted(x)", "x = [2, 1]\nassert f(x) == [1, 2]\nassert x == [2, 1]"),
    "fills a dictionary": ("def f(x):\n    x['a'] = 1", "x = {}\nf(x)\nassert x == {'a': 1}"),
    "calls back": ("def f(g, x):\n    return [g(i) for i in x]", "assert f(lambda i: i * 2, [1, 2]) == [2, 4]"),
    "is given a built-in": ("def f(g, x):\n    return g(x)", "assert f(len, 'abc') == 3"),
    "returns a closure": ("def f(n):\n    return lambda x: x + n", "assert f(2)(3) == 5"),
    "is a generator": ("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2]"),
    "is given a generator": ("def f(items):\n    return sum(items)", "assert f(i for i in range(4)) == 6"),
    "nests containers": (
        "def f(x):\n    return {(1, 2): {3}, None: frozenset('a'), b'x': [1.5]}",
        "assert f(0) == {(1, 2): {3}, None: frozenset('a'), b'x': [1.5]}",
    ),
    "returns odd numbers": (
        "def f(x):\n    return (float('inf'), -0.0, 10 ** 30, True, 2j)",
        "assert f(0) == (float('inf'), 0.0, 10 ** 30, True, 2j)",
    ),
    "returns not a number": ("def f(x):\n    return float('nan')", "import math\nassert math.isnan(f(0))"),
    "keeps every bit of a float": ("def f(x):\n    return 0.1 + 0.2", "assert f(0) == 0.1 + 0.2 != 0.3"),
    "returns a fraction": (
        "from fractions import Fraction\ndef f(x):\n    return Fraction(1, 3)",
        "from fractions import Fraction\nassert f(0) == Fraction(1, 3)",
    ),
    "returns a decimal": (
        "from decimal import Decimal\ndef f(x):\n    return Decimal('0.10')",
        "from decimal import Decimal\nassert f(0) == Decimal('0.1')",
    ),
    "returns a dict subclass": (
        "from collections import Counter\ndef f(x):\n    return Counter(x)",
        "assert f('aab') == {'a': 2, 'b': 1}",
    ),
    "raises what is expected": (
        "def f(x):\n    raise ValueError('no')",
        "try:\n    f(1)\nexcept ValueError as error:\n    assert str(error) == 'no'\nelse:\n    assert False",
    ),
    "defines a class that tests use": (
        "class Node:\n    def __init__(self, v):\n        self.v, self.next = v, None\n"
        "def f(n):\n    return n.v + n.next.v",
        "a = Node(1)\na.next = Node(2)\nassert f(a) == 3",
    ),
    "takes keywords": (
        "def f(x, *, y=1, **more):\n    return x + y + sum(more.values())",
        "assert f(1, y=2, z=3) == 6",
    ),
    "returns odd text": ("def f(x):\n    return '\\ud800é\\x00'", "assert f(0) == '\\ud800é\\x00'"),
    "imports what is not preloaded": (
        "import tarfile\ndef f(x):\n    return tarfile.GNUTYPE_SPARSE",
        "assert f(0) == b'S'",
    ),
    "writes a temporary file": (
        "import tempfile\ndef f(x):\n    with tempfile.TemporaryFile() as t:\n        return t.write(b'abc')",
        "assert f(0) == 3",
    ),
    "starts a thread": (
        "import threading\ndef f(x):\n    r = []\n    t = threading.Thread(target=r.append, args=(x,))\n"
        "    t.start()\n    t.join()\n    return r",
        "assert f(1) == [1]",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_passes_as_it_would_in_one_process(sandbox, name):
    source, test = HONEST[name]
    if "tempfile" in source and sandbox.isolation.level != "namespaces":
        pytest.skip("only namespaces have a scratch folder")
    found = grade(sandbox, source, test)
    assert found.verdict == "passed", found


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(x):\n    return x", "wrong_answer"),
        ("def f(x)", "load_error"),
        ("import no_such_module", "load_error"),
        ("def g(x):\n    return 2", "no_entry_point"),
        ("", "no_entry_point"),
        ("def f(x):\n    raise KeyError(x)", "exception"),
        ("def f(x):\n    return object()", "wrong_answer"),
    ],
)
def test_a_failure_has_a_reason(sandbox, source, reason):
    found = grade(sandbox, source, "def check(candidate):\n    assert candidate(1) == 2")
    assert (found.verdict, found.reason) == ("failed", reason), found


def test_the_failing_assert_and_the_programs_traceback_are_reported(sandbox):
    found = grade(sandbox, "def f(x):\n    return 1 // 0", "assert f(1) == 2")
    assert 'File "<candidate>", line 2, in f' in found.stderr
    assert "ZeroDivisionError" in found.detail
    assert grade(sandbox, "def f(x):\n    return 1", "assert f(1) == 2").detail == "assert f(1) == 2"


def test_helpers_of_the_prompt_are_the_judges_own(sandbox):
    prelude = "def double(x):\n    return x * 2\ndef f(x):\n    pass\n"
    source = prelude + "def double(x):\n    return 7\ndef f(x):\n    return 7"
    assert grade(sandbox, source, "assert f(1) == double(1)", prelude=prelude).reason == "wrong_answer"


def test_a_standard_module_that_tests_name_is_the_judges_own(sandbox):
    source = "class math:\n    isclose = staticmethod(lambda *_: True)\ndef f(x):\n    return 9.0"
    assert grade(sandbox, source, "assert math.isclose(f(1), 2.0)").reason == "wrong_answer"


def test_annotations_of_program_and_test_are_evaluated_whatever_the_sandbox_imports_from_the_future(sandbox):
    assert grade(sandbox, "def f(x: Missing):\n    return 1", "assert f(0) == 1").reason == "load_error"
    test = "def g(x: int):\n    pass\nassert g.__annotations__['x'] is int\nassert f(0) == 1"
    assert grade(sandbox, "def f(x):\n    return 1", test).verdict == "passed"


def test_a_programs_hash_order_and_random_numbers_are_the_same_in_every_run():
    source = "import random\ndef f(x):\n    return [list(set('abcdefgh')), random.random()]"
    test = "raise ValueError(f(0))"
    programs = [Program(key=str(i), source=source, entry_point="f", test=test) for i in range(2)]
    details = set()
    for _ in range(2):
        with Sandbox(num_workers=1) as sandbox:
            details |= {grade.detail for grade in sandbox.run(programs)}
    assert len(details) == 1


def test_grades_come_in_the_order_of_the_programs(sandbox):
    programs = [
        Program(key=str(i), source=f"def f():\n    return {i}", entry_point="f", test=f"assert f() == {i % 3}")
        for i in range(9)
    ]
    grades = sandbox.run(programs)
    assert [grade.key for grade in grades] == [str(i) for i in range(9)]
    assert [grade.verdict for grade in grades] == ["passed"] * 3 + ["failed"] * 6


def test_a_killed_worker_is_replaced_and_its_program_run_again(sandbox):
    sandbox.run([Program(key="warm", source="def f(): return 1", entry_point="f", test="assert f() == 1")])
    for worker in sandbox._workers:
        os.kill(worker._process.pid, 9)
        os.waitid(os.P_PID, worker._process.pid, os.WEXITED | os.WNOWAIT)
    found = grade(sandbox, "def f():\n    return 1", "assert f() == 1")
    assert (found.verdict, found.num_runs) == ("passed", 2)


def test_a_wall_timeout_is_run_once_more_before_it_counts():
    limits = Limits(cpu_seconds=1, wall_seconds=1.1)
    with Sandbox(num_workers=1, limits=limits) as sandbox:
        found = grade(sandbox, "from time import sleep\ndef f():\n    sleep(9)", "f()")
    assert (found.verdict, found.reason, found.num_runs) == ("failed", "timeout", 2)


def test_cpu_seconds_decide_and_need_no_second_run():
    limits = Limits(cpu_seconds=1, wall_seconds=300)
    with Sandbox(num_workers=1, limits=limits) as sandbox:
        found = grade(sandbox, "def f():\n    while True: pass", "f()")
    assert (found.verdict, found.reason, found.num_runs) == ("failed", "timeout", 1)
    assert "s of CPU; the limit is 1 s" in found.detail


def test_a_judge_that_dies_leaves_the_item_unscored_not_failed(sandbox):
    found = grade(sandbox, "def f():\n    return 1", "import os\nos._exit(3)")
    assert (found.verdict, found.reason) == ("unscored", "judge")


def test_a_program_that_lingers_after_its_answers_is_ended(sandbox):
    lingering = "import os\nfrom time import sleep\nos._exit = lambda *_: sleep(1000)\ndef f():\n    return 1"
    found = grade(sandbox, lingering, "assert f() == 1")
    assert found.verdict == "passed"
    assert found.wall_seconds < 500


def test_a_test_that_swallows_errors_passes_no_program_that_broke_the_channel(sandbox):
    garbage = """
import os
def f():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"x" * 64)
        except OSError:
            pass"""
    found = grade(sandbox, garbage, "try:\n    f()\nexcept Exception:\n    pass")
    assert (found.verdict, found.reason) == ("failed", "protocol")


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="wall seconds exceed"):
        Limits(cpu_seconds=5, wall_seconds=5)


def test_a_test_that_is_no_python_leaves_the_item_unscored_not_failed(sandbox):
    found = grade(sandbox, "def f():\n    return 1", "assert f( ==")
    assert (found.verdict, found.reason) == ("unscored", "judge")


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ("x = 1\nassert f(x) == g", ("f", "g")),
        ("def check(candidate):\n    y = Node(1)\n    assert candidate(y) == y", ("Node",)),
        ("import math\nfrom os import path as p\nassert math.pi and p", ()),
        ("class A:\n    y = z\nassert [i for i in k] == A", ("k", "z")),
        ("def set_it():\n    global made\n    made = len([])\nset_it()\nassert made", ("len",)),
        ("assert f( ==", ()),
    ],
)
def test_the_names_that_a_test_takes_from_outside(test, names):
    assert global_names(test) == names
