"""The tests that a document itself states: doctests and asserts of its Python, each run in the sandbox.

A program runs its own tests and reports how many pass: a measurement of documents, which nobody has a reason to forge,
and not of a model.
"""

from __future__ import annotations

import ast
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from codeft_assets.python_names import without_warnings
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Limits, Program

LIMITS = Limits(cpu_seconds=4, wall_seconds=10.0)
MAX_TESTS = 50
"""Asserts of one document that are run, the first ones."""
_ENTRY_POINT = "run_own_tests"
_FENCE = re.compile(r"^```(?:python|py|python3)?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL | re.IGNORECASE)
_RUNNER = '''

def {entry_point}():
    """Run doctests and asserts on the module's names, and report how many there are and pass."""
    import doctest
    import sys

    names, num_passed, num_tests = globals(), 0, 0
    for name in {functions!r}:
        test = doctest.DocTestParser().get_doctest(names[name].__doc__, dict(names), name, None, 0)
        found = doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None)
        num_tests, num_passed = num_tests + found.attempted, num_passed + found.attempted - found.failed
    for source in {asserts!r}:
        num_tests += 1
        try:
            exec(source, dict(names))
            num_passed += 1
        except Exception:
            pass
    print({mark!r}, num_passed, num_tests, file=sys.stderr)
    return True
'''
_TEST = f"def check(candidate):\n    assert {_ENTRY_POINT}() is True\n"


@dataclass(frozen=True, slots=True)
class OwnTests:
    """The outcome of a document's tests."""

    num_tests: int
    """0 where it states none."""
    num_passed: int | None
    """None where it states none, a library that it imports is not here, or the sandbox gave no verdict."""

    @property
    def share(self) -> float | None:
        """The share that passes; None where nothing was tested."""
        return None if self.num_passed is None else self.num_passed / self.num_tests


def run_own_tests(texts: Iterable[str], sandbox: Sandbox) -> list[OwnTests]:
    """Return the outcome of each document's own tests; a program that breaks before its tests passes none."""
    prepared = [_prepare(text) for text in texts]
    marks = [secrets.token_hex(8) for _ in prepared]
    programs = [_program(parts, mark) if parts else None for parts, mark in zip(prepared, marks, strict=True)]
    grades = iter(sandbox.run([program for program in programs if program is not None]))
    return [
        _outcome(next(grades), parts, mark) if parts else OwnTests(0, None)
        for parts, mark in zip(prepared, marks, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Parts:
    code: str
    functions: tuple[str, ...]
    """Those with doctests."""
    asserts: tuple[str, ...]
    num_stated: int
    """Tests by the text, which count where the program does not get to run them."""


def _prepare(text: str) -> _Parts | None:
    """Return the parts of the first piece of Python that states tests; None where there is none."""
    return next(filter(None, map(_parts, _pieces(text))), None)


def _pieces(text: str) -> Iterator[str]:
    fenced = _FENCE.findall(text)
    if fenced:
        yield "\n".join(fenced)  # an answer's tests often follow in a block of their own
        yield from fenced
    else:
        yield text


@without_warnings()
def _parts(code: str) -> _Parts | None:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    asserts = [node for node in tree.body if isinstance(node, ast.Assert)][:MAX_TESTS]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    examples = {node.name: (ast.get_docstring(node) or "").count(">>> ") for node in functions}
    documented = tuple(name for name, count in examples.items() if count)
    if not asserts and not documented:
        return None
    tree.body = [node for node in tree.body if not isinstance(node, ast.Assert)]
    num_stated = len(asserts) + sum(examples.values())
    return _Parts(ast.unparse(tree), documented, tuple(ast.unparse(node) for node in asserts), num_stated)


def _program(parts: _Parts, mark: str) -> Program:
    runner = _RUNNER.format(entry_point=_ENTRY_POINT, functions=parts.functions, asserts=parts.asserts, mark=mark)
    return Program(key=mark, source=parts.code + runner, entry_point=_ENTRY_POINT, test=_TEST)


def _outcome(grade: Grade, parts: _Parts, mark: str) -> OwnTests:
    if grade.verdict == "unscored" or "ModuleNotFoundError" in grade.stderr:  # which says nothing about the program
        return OwnTests(parts.num_stated, None)
    found = re.search(rf"^{mark} (\d+) (\d+)$", grade.stderr, re.MULTILINE)
    if found is None or not int(found[2]):
        return OwnTests(parts.num_stated, 0)
    return OwnTests(int(found[2]), int(found[1]))
