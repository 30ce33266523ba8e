"""Which names a test takes from outside of itself: what the judge has to find for it."""

import symtable
from functools import lru_cache


@lru_cache(maxsize=256)
def global_names(test: str) -> tuple[str, ...]:
    """The global names that a test uses and does not define, built-in ones included; none where it is no Python.

    Remembered, for the samples of one item have the same test, and a freshly forked judge finds them ten times slower.
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
