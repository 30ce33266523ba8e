"""Finds the program in a chat model's reply, as EvalPlus' ``sanitize`` does: the entry point and all that it needs.

A reply often goes on with calls, prints and asserts of the model's own. They are no part of its solution, and a wrong
one would fail a right function when the program is loaded.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable

_FENCE = "```"
_UNPARSABLE = (SyntaxError, ValueError, MemoryError, RecursionError)
"""What ``ast.parse`` raises: no Python, null characters or lone surrogates, and text nested too deeply."""
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_Assignment = ast.Assign | ast.AnnAssign
_Import = ast.Import | ast.ImportFrom


def extract_program(reply: str, entry_point: str) -> str:
    """Return the imports of a reply's code, ``entry_point``, and the definitions that it needs, in their order.

    Code that goes on after its last whole statement, as at a token limit, is cut there. Code without the entry point,
    or that is no Python, is returned as it is: its verdict says what is wrong with it.
    """
    code = _code_block(reply, entry_point)
    found = _longest_prefix(code)
    needed = _needed(found[1], entry_point) if found else []
    if found is None or not needed:
        return code
    kept = [node for node in found[1].body if isinstance(node, _Import) or node in needed]
    lines = found[0].split("\n")
    return "".join("\n".join(lines[_first_line(node) : node.end_lineno]) + "\n" for node in kept)


def is_reply(text: str) -> bool:
    """Return whether a text holds its code in a Markdown block."""
    return any(line.startswith(_FENCE) for line in text.split("\n")) and _parse(text) is None


def needs_text_after(program: str, entry_point: str, num_chars: int) -> bool:
    """Return whether ``entry_point`` needs a definition or an import that begins after the first characters."""
    found = _longest_prefix(program)
    last_line = program.count("\n", 0, num_chars)
    return found is not None and any(_first_line(node) > last_line for node in _needed(found[1], entry_point))


def _code_block(reply: str, entry_point: str) -> str:
    """Return a reply's code: its first block with the entry point, or its first.

    A prompt may have opened the first block, so that the reply begins in it.
    """
    inside, *rest = re.split(rf"^{_FENCE}.*$", reply, flags=re.MULTILINE)
    blocks = [inside, *rest[::2]] if defines(inside, entry_point) or not rest else rest[::2]
    return next((block for block in blocks if defines(block, entry_point)), blocks[0]).strip("\n")


def defines(code: str, entry_point: str) -> bool:
    """Return whether some line of ``code`` begins the definition of ``entry_point``, outside of any other."""
    return re.search(rf"^(async )?(def|class) {re.escape(entry_point)}\b", code, flags=re.MULTILINE) is not None


def _longest_prefix(code: str) -> tuple[str, ast.Module] | None:
    """Return the longest run of the first lines that is Python with a statement, and its tree; None without one."""
    lines = code.split("\n")
    for end in range(len(lines), 0, -1):
        text = "\n".join(lines[:end])
        tree = _parse(text)
        if tree is not None:
            return (text, tree) if tree.body else None
    return None


def _parse(text: str) -> ast.Module | None:
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
        try:
            return ast.parse(text)
        except _UNPARSABLE:
            return None


def _needed(tree: ast.Module, entry_point: str) -> list[ast.stmt]:
    """Return what defines the entry point and all that it uses; empty where nothing defines it."""
    definitions = _first_definitions(tree.body)
    if entry_point not in definitions:
        return []
    return [definitions[name] for name in _reachable(entry_point, definitions)]


def _first_definitions(body: Iterable[ast.stmt]) -> dict[str, ast.stmt]:
    """Return name -> the first statement that defines it: a reply that goes on may write its function again."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        for name in _names_defined(node):
            found.setdefault(name, node)
    return found


def _names_defined(node: ast.stmt) -> list[str]:
    if isinstance(node, _Definition):
        return [node.name]
    if isinstance(node, _Import):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, _Assignment):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return []


def _reachable(entry_point: str, definitions: dict[str, ast.stmt]) -> set[str]:
    reached, waiting = {entry_point}, [entry_point]
    while waiting:
        used = {node.id for node in ast.walk(definitions[waiting.pop()]) if isinstance(node, ast.Name)}
        new = (used & definitions.keys()) - reached
        reached |= new
        waiting += new
    return reached


def _first_line(node: ast.stmt) -> int:
    """Return the index of a statement's first line, decorators included."""
    decorators = node.decorator_list if isinstance(node, _Definition) else []
    return min(part.lineno for part in (node, *decorators)) - 1
