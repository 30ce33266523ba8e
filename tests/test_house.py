"""The house rules that no linter checks: sizes of files and functions, dialect, and words that hide what a thing is."""

import ast
import re
from pathlib import Path

import pytest

from tests import patience

ROOT = Path(__file__).parents[1]
PACKAGES = ("codeft_assets", "codeft_training", "codeft_eval")
FILES = sorted(path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 40
KERNEL = re.compile(r"/kernels/|_kernel\.py$")
"""One loop is one function there: a call would cost."""
HIDING = re.compile(r"\b(told|tell|weigh|torn|anew|kin|whole of|stands in)\b")
SINGLE_BACKTICKS = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
OBJECT_CLAUSE = re.compile(r"(What|Who|Whom|How)\b")
"""As in "What a run is measured against", for throughput."""
SILENCED = re.compile(r"# noqa: [A-Z]+\d+  \S")
FUTURE = "from __future__ import annotations"


def trees():
    for path in FILES:
        yield path, ast.parse((ROOT / path).read_text())


def test_no_file_is_longer_than_a_reader_holds():
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen():
    found = {
        f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees()
        if not KERNEL.search(path)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in found.items() if count > MAX_FUNCTION_LINES} == {}


def test_every_room_says_what_it_is_for():
    rooms = [path for path in FILES if path.endswith("/__init__.py")]
    assert [path for path in rooms if not ast.get_docstring(ast.parse((ROOT / path).read_text()))] == []


def test_docstrings_have_one_dialect():
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [
        (f"{path}:{getattr(node, 'lineno', 1)}", ast.get_docstring(node) or "")
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, documented)
    ]
    assert len(texts) > len(FILES)
    assert [where for where, text in texts if SINGLE_BACKTICKS.search(text)] == []
    assert [where for where, text in texts if OBJECT_CLAUSE.match(text)] == []


def test_every_module_with_annotations_postpones_them_unless_dagster_reads_them():
    found = []
    for path, tree in trees():
        has_annotations = any(isinstance(node, ast.arg | ast.FunctionDef | ast.AnnAssign) for node in ast.walk(tree))
        is_exception = path.startswith("codeft_assets/defs") or path.endswith("definitions.py") or KERNEL.search(path)
        if has_annotations and not is_exception and FUTURE not in (ROOT / path).read_text():
            found.append(path)
    assert found == []


def test_every_silenced_lint_has_its_reason():
    lines = {f"{path}:{n}": line for path in FILES for n, line in enumerate((ROOT / path).open(), start=1)}
    silenced = {where: line for where, line in lines.items() if "# noqa" in line}
    assert silenced
    assert [where for where, line in silenced.items() if not SILENCED.search(line)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_words_say_what_a_thing_is(name):
    texts = {path: (ROOT / path).read_text() for path in FILES if path.startswith(name)}
    found = {
        f"{path}:{number}": line.strip()
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if HIDING.search(line)
    }
    assert found == {}


WAITS = ("run", "communicate", "join", "check_call", "check_output", "Timer")
"""Calls whose limit is wall time; a Timer's is its first argument."""


def test_no_test_takes_a_slow_host_for_a_hung_process():
    short = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if "benchmarks" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WAITS
        for limit in [*(key.value for key in node.keywords if key.arg == "timeout"), *_timer_of_a_kill(node)]
        if isinstance(limit, ast.Constant) and limit.value < patience.SECONDS
    ]
    assert short == [], "wait for tests.patience.SECONDS"


def _timer_of_a_kill(call):
    is_watchdog = getattr(call.func, "attr", "") == "Timer" and "kill" in ast.unparse(call)
    return call.args[:1] if is_watchdog else []
