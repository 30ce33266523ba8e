"""Every benchmark starts as its first lines say: by its path, with what it imports, from any folder."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests" / "benchmarks").glob("*.py"))
FINDS_TESTS = "sys.path.insert(0, str(Path(__file__).parents[2]))"


def statements(path):
    return list(ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path):
    for found in statements(path):
        if isinstance(found, ast.ImportFrom) and (found.module or "").split(".")[0].startswith(("codeft_", "tests")):
            module = importlib.import_module(found.module)
            names = [name.name for name in found.names if not hasattr(module, name.name)]
            assert [name for name in names if not importlib.util.find_spec(f"{found.module}.{name}")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_benchmark_that_imports_tests_finds_them_when_it_is_started_by_its_path(path):
    of_tests = [
        found.lineno
        for found in statements(path)
        if isinstance(found, ast.ImportFrom) and (found.module or "").split(".")[0] == "tests"
    ]
    place = next((n for n, line in enumerate(path.read_text().splitlines(), 1) if line.strip() == FINDS_TESTS), 0)
    assert not of_tests or 0 < place < min(of_tests)


def test_one_starts_elsewhere_without_help(tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "secrets.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
