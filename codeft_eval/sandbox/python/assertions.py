"""Counts the assertions of a test that a loop holds, so that one which never ran is no pass.

The others need no count: whoever comes to the end of a test has run each statement that nothing encloses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

RAN = "_assertion_ran"
"""The judge's name for the function that an assertion in a loop calls, with its line, once it held."""
_MARK = re.compile(rf"; {RAN}\(\d+\)")
_LEAVING = (ast.Break, ast.Continue, ast.Return, ast.Raise)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


@lru_cache(maxsize=256)
def counted_assertions(test: str) -> tuple[str, tuple[int, ...]]:
    """Return a test whose assertions in loops report that they ran, and their lines; invalid Python as it is.

    Those of the module and of its function ``check`` count. Under a condition, a handler or a context none does, nor
    after a statement that may leave the loop or its turn.
    """
    test = test.replace("\r\n", "\n").replace("\r", "\n")  # as the compiler counts lines
    if "assert" not in test or not re.search(r"\b(for|while)\b", test):
        return test, ()
    try:
        found = list(_looped(ast.parse(test).body, in_loop=False))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return test, ()
    lines = [line.encode() for line in test.split("\n")]
    for node in sorted(found, key=lambda node: (node.end_lineno, node.end_col_offset), reverse=True):
        line, column = (node.end_lineno or node.lineno) - 1, node.end_col_offset
        lines[line] = lines[line][:column] + f"; {RAN}({node.lineno})".encode() + lines[line][column:]
    return b"\n".join(lines).decode(), tuple(sorted({node.lineno for node in found}))


def without_marks(line: str) -> str:
    """Return a line of a test as its author wrote it."""
    return _MARK.sub("", line)


def _looped(body: list[ast.stmt], *, in_loop: bool) -> Iterator[ast.Assert]:
    for node in body:
        if any(isinstance(part, _LEAVING) for part in ast.walk(node)) and not isinstance(node, ast.FunctionDef):
            return
        if isinstance(node, ast.Assert) and in_loop:
            yield node
        elif isinstance(node, _LOOPS):
            yield from _looped(node.body, in_loop=True)
        elif isinstance(node, ast.FunctionDef) and node.name == "check":
            yield from _looped(node.body, in_loop=False)
