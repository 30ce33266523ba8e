"""A stage's code version: one hash over every definition that its result depends on, found by reading the source.

From the functions that compute a unit, names are followed through functions, classes, constants and imports of our
packages. A definition counts by what its code does: comments, docstrings, annotations, layout, import statements, the
names of modules and of top-level definitions, and the file in which a definition stands are not part of the hash. So
moving or renaming code recomputes nobody's tables, and repairing a function recomputes those that it computed. A file
of data beside the code counts by its content where the code names it.

Two things are not followed. Rooms that move bytes and compute none (``_NOT_COMPUTING``) count by being used, not by
their content. And a method called on an argument is seen only where the argument's class is named, in an annotation or
in the code: what is chosen at run time (a source's adapter, its origin) is named by the stage as one more root.
"""

from __future__ import annotations

import ast
import functools
import gc
import importlib.util
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

_PACKAGES = ("codeft_assets", "codeft_eval", "codeft_training")
_NOT_COMPUTING = (
    "codeft_assets.base",
    "codeft_assets.stages.code_version",
    "codeft_assets.store.engine",
    "codeft_assets.store.files",
    "codeft_assets.store.manifest",
    "codeft_assets.store.parquet",
    "codeft_assets.source",
    "codeft_assets.sources",
    "codeft_assets.store.tables",
)
_COMPOUND = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.Match)
_CODE_SUFFIXES = {".py", ".pyc", ".nbi", ".nbc"}
"""The last two are numba's caches."""
_BLIND_FIELDS = {"ctx", "type_comment", "type_params"}
"""Of syntax trees: they compute nothing, and only some versions of Python have them."""


class Definition(NamedTuple):
    """A name defined at the top level of a module; an empty name is a whole module."""

    module: str
    name: str


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: it would walk the growing syntax trees again and again, for 60 % of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@functools.cache
@_uncollected()
def code_version_of(*roots: Any) -> str:
    """Return 16 hex digits over the code of ``roots`` and of everything of ours that they use.

    Args:
        roots: Functions, classes, or ``"module:name"`` where importing the module costs too much.

    Raises:
        ValueError: a root is not defined at the top level of a module of ours.
    """
    numbers = _reachable(roots)
    contents = (_content(definition) for definition in numbers)
    lines = (f"{code} {[numbers[reference] for reference in references]}" for code, references in contents)
    return xxhash.xxh3_64_hexdigest("\n".join(lines))


def covered_definitions(*roots: Any) -> set[Definition]:
    """Return the definitions that are part of ``code_version_of(*roots)``."""
    return set(_reachable(roots))


def _reachable(roots: Iterable[Any]) -> dict[Definition, int]:
    """Return every definition that is used, numbered in the order in which they are first referred to.

    A hash that knows definitions by this number is blind to their names and places.
    """
    numbers: dict[Definition, int] = {}
    waiting = deque(map(_root, roots))
    while waiting:
        definition = waiting.popleft()
        if definition not in numbers:
            numbers[definition] = len(numbers)
            waiting.extend(_content(definition)[1])
    return numbers


def _root(root: Any) -> Definition:
    module, name = root.split(":") if isinstance(root, str) else (root.__module__, root.__qualname__)
    found = _resolve(module, name)
    if found is None or not found.name:
        raise ValueError(f"{module}:{name} is not defined at the top level of a module of ours; name one that is")
    return found


@functools.cache
def _content(definition: Definition) -> tuple[str, tuple[Definition, ...]]:
    """Return the code of a definition with its references as ``#0``, ``#1`` …, and their definitions."""
    if f"{definition.module}.".startswith(tuple(f"{name}." for name in _NOT_COMPUTING)):
        return "", ()
    module = _read_module(definition.module)
    assert module is not None, f"{definition} was resolved"
    writer = _Writer(definition.module)
    code = "\n".join(writer.code(statement) for statement in module.statements[definition.name])
    return code, tuple(writer.references)


@dataclass(frozen=True, slots=True)
class _Module:
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    """Name -> the statements that define or change it."""
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> (module, name in it; empty for the module itself)."""


@functools.cache
def _read_module(name: str) -> _Module | None:
    """Return the definitions of a module of ours; None where there is no such module."""
    path = _source_file(name)
    if path is None:
        return None
    module, text = _Module(), path.read_text(encoding="utf-8")
    may_rebind = "global " in text  # few modules do; looking into every function would double the time
    for statement in ast.parse(text).body:
        module.imports.update(_imports(statement))
        for defined in _defined_names(statement) | (_rebound_names(statement) if may_rebind else set()):
            module.statements.setdefault(defined, []).append(statement)
    return module


@functools.cache
def _source_file(name: str) -> Path | None:
    """Return the file of a module of ours, by its name alone: to find a submodule, Python would import its parents."""
    package, *parts = name.split(".")
    spec = importlib.util.find_spec(package) if package in _PACKAGES else None
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*parts)
    found = [path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
    return found[0] if found else None


def _imports(statement: ast.stmt) -> dict[str, tuple[str, str]]:
    found = {}
    for node in ast.walk(statement) if isinstance(statement, _COMPOUND) else [statement]:
        if isinstance(node, ast.Import):
            found |= {alias.asname: (alias.name, "") for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return found


def _defined_names(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement defines, or changes by a call or an assignment to a part."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom) or _is_docstring(statement):
        return set()
    nodes = list(ast.walk(statement))
    changes = isinstance(statement, (ast.Expr, ast.AugAssign, *_COMPOUND))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and (changes or isinstance(node.ctx, ast.Store))}
    loops = {
        name.id
        for node in nodes
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
        if isinstance(name, ast.Name)
    }
    parts = [node for node in nodes if isinstance(node, ast.Attribute | ast.Subscript)]
    stored = {_base(node) for node in parts if isinstance(node.ctx, ast.Store | ast.Del)}
    inner = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return (bound | stored | inner) - loops - {""}


def _rebound_names(statement: ast.stmt) -> set[str]:
    """Return the names that functions declare ``global``."""
    return {name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names}


def _base(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _data_hashes(package: str, value: object) -> list[str]:
    """Return hashes of the data files that a constant names, and of others of the same kind in their folders.

    A template includes others by names that only it has.
    """
    if not isinstance(value, str) or value not in _data_files(package):
        return []
    found = {sibling for path in _data_files(package)[value] for sibling in path.parent.glob(f"*{path.suffix}")}
    return sorted(xxhash.xxh3_64_hexdigest(path.read_bytes()) for path in found)


@functools.cache
def _data_files(package: str) -> dict[str, list[Path]]:
    """Return the files of a package of ours that are not code, by name."""
    source, files = _source_file(package), defaultdict(list)
    for path in source.parent.rglob("*.*") if source else ():
        if path.is_file() and path.suffix not in _CODE_SUFFIXES:
            files[path.name].append(path)
    return files


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@functools.cache
def _resolve(module_name: str, name: str) -> Definition | None:
    """Return the definition behind a name as a module sees it, followed through imports; None if it is not ours."""
    module = _read_module(module_name)
    if module is None:
        return None
    if not name or name in module.statements:
        return Definition(module_name, name)
    if name in module.imports:
        return _resolve(*module.imports[name])
    path, submodule = _source_file(module_name), f"{module_name}.{name}"
    is_package = path is not None and path.name == "__init__.py"
    return Definition(submodule, "") if is_package and _read_module(submodule) is not None else None


class _Writer:
    """Writes a definition as the sequence of its nodes and values, references as ``#0``, ``#1`` … in their order."""

    def __init__(self, module: str) -> None:
        self.references: dict[Definition, int] = {}
        self._module = module
        self._package = module.split(".")[0]
        self._local_imports: dict[str, tuple[str, str]] = {}

    def code(self, statement: ast.stmt) -> str:
        """Return the statement's code, blind to its own name."""
        parts: list[str] = []
        self._write_fields(statement, parts, left_out="name" if hasattr(statement, "name") else "")
        return " ".join(parts)

    def _write(self, value: object, parts: list[str]) -> None:
        if isinstance(value, list):
            parts.append("[")
            for element in value:
                self._write(element, parts)
            parts.append("]")
        elif not isinstance(value, ast.AST):
            parts += [repr(value), *_data_hashes(self._package, value)]
        elif isinstance(value, ast.Name | ast.Attribute) and (found := self._find(value)) and found.name:
            parts.append(f"#{self.references.setdefault(found, len(self.references))}")
        elif isinstance(value, ast.Import | ast.ImportFrom):
            self._local_imports |= _imports(value)
        elif not _is_docstring(value):
            self._write_fields(value, parts)

    def _write_fields(self, node: ast.AST, parts: list[str], left_out: str = "") -> None:
        parts.append(type(node).__name__)
        for name in node._fields:
            if name in {"annotation", "returns"}:
                self._write(getattr(node, name), [])  # the classes that it names are followed, its text is no code
            elif name not in _BLIND_FIELDS and name != left_out:
                self._write(getattr(node, name, None), parts)

    def _find(self, node: ast.expr) -> Definition | None:
        """Return the definition of a name or a dotted name."""
        if isinstance(node, ast.Name):
            imported = self._local_imports.get(node.id)
            return _resolve(*imported) if imported else _resolve(self._module, node.id)
        if isinstance(node, ast.Attribute):
            owner = self._find(node.value)
            return _resolve(owner.module, node.attr) if owner is not None and not owner.name else None
        return None
