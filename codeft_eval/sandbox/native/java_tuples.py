"""The classes of org.javatuples that MultiPL-E's Java programs import, reimplemented: value types with ``with``."""

from __future__ import annotations

_SIZES = {"Unit": 1, "Pair": 2, "Triplet": 3, "Quartet": 4}
_CLASS = """package org.javatuples;
import java.util.*;
public final class @NAME@<@TYPES@> {
  private final List<Object> all;
  public @NAME@(@PARAMETERS@) { all = Arrays.<Object>asList(@VALUES@); }
  public static <@TYPES@> @NAME@<@TYPES@> with(@PARAMETERS@) { return new @NAME@<>(@VALUES@); }
@GETTERS@  public Object[] toArray() { return all.toArray(); }
  public boolean equals(Object other) {
    return other instanceof @NAME@ && all.equals(((@NAME@) other).all);
  }
  public int hashCode() { return all.hashCode(); }
  public String toString() { return all.toString(); }
}
"""
_GETTER = '  @SuppressWarnings("unchecked") public @TYPE@ getValue@INDEX@() { return (@TYPE@) all.get(@INDEX@); }\n'


def java_tuples() -> dict[str, str]:
    """Return path and source of each class."""
    return {f"org/javatuples/{name}.java": _source(name, size) for name, size in _SIZES.items()}


def _source(name: str, size: int) -> str:
    letters = "ABCD"[:size]
    getters = [_GETTER.replace("@TYPE@", letter).replace("@INDEX@", str(i)) for i, letter in enumerate(letters)]
    parts = {
        "@NAME@": name,
        "@TYPES@": ", ".join(letters),
        "@PARAMETERS@": ", ".join(f"{letter} {letter.lower()}" for letter in letters),
        "@VALUES@": ", ".join(letters.lower()),
        "@GETTERS@": "".join(getters),
    }
    source = _CLASS
    for mark, text in parts.items():
        source = source.replace(mark, text)
    return source
