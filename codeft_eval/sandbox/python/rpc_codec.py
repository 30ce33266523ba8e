"""Values between judge and candidate: tagged JSON on the wire, plain built-in values at both ends.

Nothing that is decoded can run code: unknown tags are refused, and a value of a type with no tag becomes a handle,
which is only a number until its owner is requested to call it. Subclasses are sent as the built-in type they extend,
so an overloaded ``__eq__`` stays behind.
"""

from __future__ import annotations

import base64
import builtins
import collections
import decimal
import fractions
import json
import re
from collections.abc import Callable
from typing import Any

_EXACT_FLOAT_INTEGERS = 1 << 53
"""Larger integers are sent as hexadecimal text, whose length the interpreter does not limit (decimal: 4,300 digits)."""


class ProtocolError(Exception):
    """The other side sent something that is not a message of this protocol."""


Export = Callable[[Any], list]
"""Returns the encoding of a handle for a value that has no tag."""
Resolve = Callable[[str, list], Any]
"""Returns the value of a handle (tag "h"), an argument (tag "a") or an own object sent back (tag "o")."""


def encode(value: Any, export: Export) -> Any:
    """Return ``value`` as JSON-ready lists; a value without a tag goes through ``export``."""
    if value is None or value is True or value is False or type(value) is str:
        return value
    if isinstance(value, int):
        plain = int.__index__(value)
        return plain if abs(plain) < _EXACT_FLOAT_INTEGERS else ["i", hex(plain)]
    if isinstance(value, float):
        return ["f", float.__repr__(value)]
    if isinstance(value, str):
        return str.__str__(value)
    for kind, tag, content in _CONTAINERS:
        if isinstance(value, kind):
            return [tag, *content(value, lambda item: encode(item, export))]
    return _encode_name(value) or export(value)


def decode(data: Any, resolve: Resolve) -> Any:
    """Return the value that was encoded, of built-in types only.

    Raises:
        ProtocolError: ``encode`` never returns such ``data``.
    """
    if data is None or isinstance(data, (bool, int, str)):
        return data
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise ProtocolError(f"not a value: {str(data)[:80]}")
    tag, *content = data
    if tag in ("h", "a", "o"):
        return resolve(tag, content)
    if tag not in _DECODERS:
        raise ProtocolError(f"unknown tag {tag[:20]!r}")
    try:
        return _DECODERS[tag](content, lambda item: decode(item, resolve))
    except (ValueError, TypeError, IndexError, ArithmeticError, AttributeError) as error:
        raise ProtocolError(f"malformed {tag!r}: {error}") from error


def dumps(message: Any) -> bytes:
    """Return a message as bytes."""
    return json.dumps(message, separators=(",", ":")).encode()


def loads(payload: bytes) -> Any:
    """Return the message in ``payload``.

    Raises:
        ProtocolError: it is not JSON, or nests deeper than Python's stack.
    """
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error


def _items(value: Any, recurse: Callable) -> list:
    # The base class' own iterator: a subclass may have overloaded __iter__.
    base: Any = next(kind for kind in (list, tuple, set, frozenset, collections.deque) if isinstance(value, kind))
    return [recurse(item) for item in base.__iter__(value)]


def _pairs(value: dict, recurse: Callable) -> list:
    return [[recurse(key), recurse(item)] for key, item in dict.items(value)]


def _bytes(value: Any, _recurse: Callable) -> list:
    return [base64.b64encode(bytes(value)).decode()]


_CONTAINERS: tuple[tuple[type, str, Callable[[Any, Callable], list]], ...] = (
    (list, "l", _items),
    (tuple, "t", _items),
    (dict, "d", _pairs),
    (set, "s", _items),
    (frozenset, "z", _items),
    (collections.deque, "e", _items),
    (bytes, "b", _bytes),
    (bytearray, "y", _bytes),
    (complex, "c", lambda value, _: [repr(value.real), repr(value.imag)]),
    (range, "r", lambda value, recurse: [recurse(value.start), recurse(value.stop), recurse(value.step)]),
    (fractions.Fraction, "q", lambda value, recurse: [recurse(value.numerator), recurse(value.denominator)]),
    (decimal.Decimal, "m", lambda value, _: [decimal.Decimal.__str__(value)]),
    (re.Match, "k", lambda value, _: []),
)

_DECODERS: dict[str, Callable[[list, Callable], Any]] = {
    "i": lambda content, _: int(content[0], 16),
    "f": lambda content, _: float(content[0]),
    "l": lambda content, recurse: [recurse(item) for item in content],
    "t": lambda content, recurse: tuple(recurse(item) for item in content),
    "d": lambda content, recurse: {recurse(key): recurse(value) for key, value in content},
    "s": lambda content, recurse: {recurse(item) for item in content},
    "z": lambda content, recurse: frozenset(recurse(item) for item in content),
    "e": lambda content, recurse: collections.deque(recurse(item) for item in content),
    "b": lambda content, _: base64.b64decode(content[0], validate=True),
    "y": lambda content, _: bytearray(base64.b64decode(content[0], validate=True)),
    "c": lambda content, _: complex(float(content[0]), float(content[1])),
    "r": lambda content, recurse: range(*(recurse(item) for item in content)),
    "q": lambda content, recurse: fractions.Fraction(recurse(content[0]), recurse(content[1])),
    "m": lambda content, _: decimal.Decimal(content[0]),
    "n": lambda content, _: _named(content[0]),
    # A re.Match, for tests that only check whether there was one: true, and equal to nothing.
    "k": lambda content, _: object(),
}

_NAMED_BUILTINS = (
    *("abs", "all", "any", "bool", "chr", "dict", "divmod", "float", "frozenset", "int", "len", "list", "max", "min"),
    *("ord", "pow", "repr", "reversed", "round", "set", "sorted", "str", "sum", "tuple"),
)


def _encode_name(value: Any) -> list | None:
    if isinstance(value, type) or type(value) is type(len):
        name = value.__name__
        if name in _NAMED_BUILTINS and value is getattr(builtins, name):
            return ["n", name]
    return None


def _named(name: str) -> Any:
    if name not in _NAMED_BUILTINS:
        raise ValueError(f"no built-in {name!r}")
    return getattr(builtins, name)
