"""Free names of a test: those that the judge has to resolve in the candidate or in the standard library."""

from __future__ import annotations

import symtable
from functools import lru_cache


@lru_cache(maxsize=256)
def global_names(test: str) -> tuple[str, ...]:
    """Return the global names that a test uses and does not define, built-in ones included; none for invalid Python.

    Cached, since the samples of one item have the same test, and a freshly forked judge would be ten times slower.
    """
    try:
        tables = [symtable.symtable(test, "<test>", "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    used, defined = set[str](), set[str]()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        symbols = [symbol for symbol in table.get_symbols() if symbol.is_global()]
        used |= {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
        defined |= {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    return tuple(sorted(used - defined))
