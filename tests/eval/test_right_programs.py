"""The cases of tests/eval/cases/right_programs.jsonl: what passes in one process passes in two, and nothing else."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from codeft_eval.sandbox.isolation.levels import LEVELS
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Program
from codeft_eval.sandbox.python.libraries import find_libraries
from codeft_eval.sandbox.python.provider import check_level
from tests.eval.case_files import read_cases

CASES = {case["name"]: case for case in read_cases("right_programs.jsonl")}
_IMPORTED = ("numpy", "sympy", "pandas")


def libraries_of(case):
    """Return what a case declares, or else imports."""
    return tuple(case.get("libraries") or [name for name in _IMPORTED if f"import {name}" in case["source"]])


def program_of(case):
    entry_point, prelude = case.get("entry_point", "f"), case.get("prelude", "")
    return Program(key=case["name"], source=case["source"], entry_point=entry_point, test=case["test"], prelude=prelude)


@pytest.fixture(scope="module", params=LEVELS)
def grades(request):
    if check_level(request.param) != "works":
        pytest.skip(check_level(request.param))
    found = {}
    for libraries in sorted({libraries_of(case) for case in CASES.values()}):
        if not all(map(find_spec, libraries)):
            continue
        programs = [program_of(case) for case in CASES.values() if libraries_of(case) == libraries]
        with Sandbox(level=request.param, num_workers=2, libraries=libraries) as sandbox:
            found |= {grade.key: grade for grade in sandbox.run(programs)}
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_program_passes_exactly_if_it_is_right(grades, name):
    if name not in grades:
        pytest.skip(f"one of {libraries_of(CASES[name])} is not installed")
    grade = grades[name]
    assert (grade.verdict == "passed") == CASES[name]["must_pass"], grade
    assert grade.verdict != "unscored"


def test_a_library_that_is_not_declared_or_not_installed_is_refused():
    with Sandbox(num_workers=1) as sandbox:
        source = "import numpy\ndef f(x):\n    return x"
        grade = sandbox.run([Program(key="x", source=source, entry_point="f", test="assert f(1) == 1")])[0]
    assert (grade.verdict, grade.reason) == ("failed", "load_error")
    with pytest.raises(ValueError, match="'no-such-library' is not installed, which a benchmark declares"):
        Sandbox(libraries=("no-such-library",))
    with pytest.raises(ValueError, match=r"library 'numpy==0\.1': version .* is installed; pip install 'numpy==0\.1'"):
        Sandbox(libraries=("numpy==0.1",))
    with pytest.raises(ValueError, match="only Python programs may import them, not javascript's"):
        Sandbox(language="javascript", libraries=("numpy",))


def test_a_library_comes_with_all_that_it_requires_and_its_versions():
    found = find_libraries(["numpy"])
    assert found.declared == ("numpy",)
    assert found.versions.keys() == {"numpy"}
    entries = [Path(path).name for path in found.paths]
    assert "numpy" in entries
    assert not [entry for entry in entries if entry.startswith(("pip", "codeft", "torch"))]


def test_only_the_declared_libraries_are_visible():
    source = """
import json, os
def f(x):
    import importlib
    found = []
    for name in ("torch", "polars", "pip", "dagster", "codeft_eval"):
        try:
            importlib.import_module(name)
            found.append(name)
        except ImportError:
            pass
    return found"""
    with Sandbox(num_workers=1, libraries=("numpy",)) as sandbox:
        grade = sandbox.run([Program(key="x", source=source, entry_point="f", test="raise ValueError(str(f(1)))")])[0]
    assert json.loads(grade.detail.partition(": ")[2].replace("'", '"')) in ([], ["codeft_eval"])
