"""Lets a program's ``StopIteration`` reach a test only in a call of the test's own, within a handler for it.

Anywhere else it would end an iteration of the test, such as ``all(map(candidate, inputs))``, and skip what is left.
"""

from __future__ import annotations

import ast
import itertools
import sys
from functools import cached_property
from types import FrameType

from codeft_eval.sandbox.python.rpc_codec import Remote

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)
_CATCHING = ("StopIteration", "Exception", "BaseException")
_EXPECTING = ("raises", "assertRaises", "assertRaisesRegex", "suppress")


class StopIterationPlaces:
    """The places of one test's source, which is read only once a program raises ``StopIteration``."""

    def __init__(self, source: str, name: str = "<test>") -> None:
        self._source, self._name = source, name

    def is_caught(self) -> bool:
        """Return whether the innermost call of the running test calls the program directly, and within a handler."""
        frame: FrameType | None = sys._getframe()
        while frame and frame.f_code.co_filename != self._name:
            frame = frame.f_back
        if frame is None:
            return False
        positions = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
        return any(_calls_a_program(call, frame) for call in self._caught_calls.get(positions, ()))

    @cached_property
    def _caught_calls(self) -> dict[tuple, list[ast.Call]]:
        """Return the calls within handlers, by (line, last line, column, last column)."""
        found: dict[tuple, list[ast.Call]] = {}
        for node in ast.walk(ast.parse(self._source)):
            for statement in _guarded(node):
                for call in _calls_in(statement):
                    key = (call.lineno, call.end_lineno, call.col_offset, call.end_col_offset)
                    found.setdefault(key, []).append(call)
        return found


def _guarded(node: ast.AST) -> list[ast.stmt]:
    """Return the statements of which a ``try`` or ``with`` catches ``StopIteration``."""
    if isinstance(node, ast.Try):
        kinds = [_names(handler.type) if handler.type else ["BaseException"] for handler in node.handlers]
        return node.body if any(name in _CATCHING for names in kinds for name in names) else []
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        return node.body if any(name in _EXPECTING for call in calls for name in _names(call.func)) else []
    return []


def _names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Tuple):
        return [name for element in node.elts for name in _names(element)]
    return [node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")]


def _calls_in(node: ast.AST) -> list[ast.Call]:
    """Return the calls below a node that its own frame makes."""
    found = [node] if isinstance(node, ast.Call) else []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            found += _calls_in(child)
    return found


def _calls_a_program(call: ast.Call, frame: FrameType) -> bool:
    target = call.func.value if isinstance(call.func, ast.Attribute) else call.func
    if not isinstance(target, ast.Name):
        return False
    return isinstance(frame.f_locals.get(target.id, frame.f_globals.get(target.id)), Remote)
