"""A file of Python -> its functions that stand alone: with docstring, and with the imports and helpers that they need.

A function stands alone where every name that it uses is a builtin, comes from the standard library, or is defined at
the top level of the same file by something that stands alone too. Whatever it needs is cut out with it, in the order
of the file, so that the unit runs as it is.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from codeft_assets.curation.ingest.adapters import local_file
from codeft_assets.curation.ingest.drafts import BadRowError, Draft, Reject, Row
from codeft_assets.python_names import free_names, without_warnings

MAX_UNIT_CHARS = 6_000
"""A function that needs more is part of a program."""
_BUILTINS = frozenset(dir(builtins)) | {"__name__"}
_FUTURE = "__future__"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class _NeedsMoreError(ValueError):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class _File:
    """The top level of a file."""

    text: str
    tree: ast.Module

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in self.tree.body if isinstance(node, Function)]

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Name -> (module, statement) of every import at the top level."""
        return {name: found for node in self.tree.body for name, found in _imported(node)}

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """Name -> the one statement that defines it; a name with several belongs to the program's state."""
        found: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body:
            for name in _defined(node):
                found.setdefault(name, []).append(node)
        return {name: nodes[0] for name, nodes in found.items() if len(nodes) == 1}

    def source(self, node: ast.stmt) -> str:
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        return "\n".join(self.lines[first - 1 : node.end_lineno])


def function_units(row: Row) -> list[Draft | Reject]:
    """Return a draft of each top-level function that stands alone, and a reject of each other one.

    Raises:
        BadRowError: the row has no text, it is no Python, or no function is at its top level.
    """
    whole = local_file(row)[0]
    try:
        with without_warnings():
            file = _File(whole.text, ast.parse(whole.text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadRowError("not_python", str(error)) from error
    if not file.functions:
        raise BadRowError("no_functions", "no function at the top level")
    return [_unit(file, node, whole.license) for node in file.functions]


def _unit(file: _File, node: Function, license_name: str | None) -> Draft | Reject:
    part = f"{node.name}:{node.lineno}"
    try:
        if not ast.get_docstring(node):
            raise _NeedsMoreError("no_docstring", node.name)
        text = _standalone(file, node)
    except _NeedsMoreError as error:
        return Reject(part=part, reason=error.reason, detail=error.detail, text=file.source(node))
    return Draft(text=text, part=part, language="python", license=license_name)


def _standalone(file: _File, node: Function) -> str:
    """Return a function with its imports, constants and helpers.

    Raises:
        _NeedsMoreError: there is something that it cannot take along.
    """
    if file.definitions.get(node.name) is not node:
        raise _NeedsMoreError("program_state", f"{node.name} is defined several times")
    imports: set[str] = set()
    taken: dict[int, ast.stmt] = {}
    waiting: list[ast.stmt] = [node]
    while waiting:
        statement = waiting.pop()
        if statement.lineno in taken:
            continue
        taken[statement.lineno] = statement
        used = free_names(file.source(statement)) - _BUILTINS
        shown = _names_in_examples(node) - used if statement is node else set()
        for name in sorted(used | {name for name in shown if name in file.definitions or name in file.imports}):
            if name in file.definitions:
                waiting.append(file.definitions[name])
            else:
                imports.add(_import_of(file, name))
    code = "\n\n\n".join(file.source(taken[line]) for line in sorted(taken))
    found = "\n".join([*_future_imports(file), *sorted(imports)])
    text = f"{found}\n\n\n{code}\n" if found else f"{code}\n"
    if len(text) > MAX_UNIT_CHARS:
        raise _NeedsMoreError("too_large", f"{len(text)} characters with {len(taken) - 1} helpers")
    return text


def _names_in_examples(node: Function) -> set[str]:
    """Return the names that the doctests of a function use; none where they are malformed."""
    try:
        examples = doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
        return free_names("".join(example.source for example in examples)) - _BUILTINS
    except (SyntaxError, ValueError):
        return set()


def _import_of(file: _File, name: str) -> str:
    """Return the import of a name from the standard library."""
    if name not in file.imports:
        raise _NeedsMoreError("program_state", f"{name} is not defined by one statement at the top level")
    module, statement = file.imports[name]
    if module.partition(".")[0] not in sys.stdlib_module_names:
        raise _NeedsMoreError("needs_package", f"{name} of {module or 'its own package'}")
    return statement


def _future_imports(file: _File) -> list[str]:
    return [statement for module, statement in file.imports.values() if module == _FUTURE]


def _imported(node: ast.stmt) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (name, (module, statement)) of an import; a relative one has no module."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            yield name, (alias.name, ast.unparse(ast.Import(names=[alias])))
    elif isinstance(node, ast.ImportFrom):
        module = "" if node.level else node.module or ""
        for alias in node.names:
            single = ast.ImportFrom(module=node.module, names=[alias], level=node.level)
            yield alias.asname or alias.name, (module, ast.unparse(single))


def _defined(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top level assigns, also within ``if`` and ``try``."""
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store | ast.Del):
            yield inner.id
        elif isinstance(inner, Function | ast.ClassDef):
            yield inner.name
