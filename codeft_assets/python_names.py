"""The names that a piece of Python uses and does not define, and the imports that would define them."""

from __future__ import annotations

import ast
import builtins
import symtable
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_MODULES = ("bisect", "collections", "copy", "datetime", "functools", "heapq", "itertools", "json", "math", "operator",
            "re", "statistics", "string")  # fmt: skip
_FROM_MODULES = {
    **{name: "typing" for name in typing.__all__},
    **dict.fromkeys(("Counter", "OrderedDict", "defaultdict", "deque", "namedtuple"), "collections"),
    **dict.fromkeys(("cache", "lru_cache", "reduce"), "functools"),
    **dict.fromkeys(("accumulate", "chain", "combinations", "groupby", "permutations", "product"), "itertools"),
    **dict.fromkeys(("ceil", "floor", "gcd", "sqrt"), "math"),
}


@contextmanager
def without_warnings() -> Iterator[None]:
    """Leave out what the parser prints about others' texts, as of ``1 is 1``; as a decorator, too."""
    with warnings.catch_warnings(action="ignore"):
        yield


@without_warnings()
def parse_module(code: str) -> ast.Module:
    """Return the tree of a module that Python would run; ``ast.parse`` alone accepts an argument that is named twice.

    Raises:
        SyntaxError: it is no Python, or too deep or with a null byte, which have errors of other kinds.
    """
    try:
        module = ast.parse(code)
        compile(module, "<code>", "exec", dont_inherit=True)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(f"{type(error).__name__}: {error}") from error
    return module


@without_warnings()
def free_names(code: str) -> set[str]:
    """Return the names that ``code`` reads from its module or from builtins, and that it does not define there.

    Raises:
        SyntaxError: it is no Python.
    """
    module = symtable.symtable(code, "<code>", "exec")
    defined = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    tables, used = [module], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or table is module)
        }
    return used - defined


def missing_imports(code: str) -> str:
    """Return import lines, sorted, for the well-known names of the standard library that ``code`` uses."""
    names = free_names(code) - set(dir(builtins))
    modules = sorted(name for name in names if name in _MODULES)
    parts: dict[str, list[str]] = {}
    for name in sorted(names - set(modules)):
        if name in _FROM_MODULES:
            parts.setdefault(_FROM_MODULES[name], []).append(name)
    lines = [f"import {name}" for name in modules]
    lines += [f"from {module} import {', '.join(parts[module])}" for module in sorted(parts)]
    return "".join(f"{line}\n" for line in lines)


def with_imports(imports: str, code: str) -> str:
    """Return code below its import lines."""
    return f"{imports}\n\n{code}" if imports else code
