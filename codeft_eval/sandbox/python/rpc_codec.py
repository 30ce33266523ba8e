"""Values between judge and candidate: tagged JSON on the wire, values of built-in and standard types at both ends.

Nothing that is decoded can run code: unknown tags are refused, and a value of a type with no tag becomes a handle,
which is only a number until its owner is requested to do something with it. A value of a subclass of a built-in type
is sent as one of that type, so an overloaded ``__eq__`` stays behind; with it goes a handle, for other attributes.
"""

from __future__ import annotations

import base64
import builtins
import decimal
import fractions
import json
from collections.abc import Callable
from typing import Any, Protocol

from codeft_eval.sandbox.python.rpc_values import build_standard, standard_name, standard_parts

_EXACT_FLOAT_INTEGERS = 1 << 53
"""Larger integers are sent as hexadecimal text, whose length the interpreter does not limit (decimal: 4,300 digits)."""


class ProtocolError(Exception):
    """The other side sent something that is not a message of this protocol."""


class Remote:
    """Base of what stands for an object of the other side."""

    __slots__ = ()


class Exporter(Protocol):
    """Gives handles to objects that have no tag."""

    def export(self, value: Any) -> list:
        """Return the encoding of a handle."""
        ...

    def is_under_test(self, kind: type) -> bool:
        """Return whether tests name the class: its instances are used by handle, whatever they extend."""
        ...


Resolve = Callable[[str, list], Any]
"""Returns the value of a handle (tag "h"), an argument (tag "a"), an own object sent back (tag "o") or a value with a
handle (tag "x")."""


def encode(value: Any, exporter: Exporter) -> Any:
    """Return ``value`` as JSON-ready lists; a value without a tag goes through ``exporter``."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if abs(value) < _EXACT_FLOAT_INTEGERS else ["i", hex(value)]
    if kind in _PLAIN:
        tag, content = _PLAIN[kind]
        return [tag, *content(value, lambda item: encode(item, exporter))]
    return _encode_other(value, kind, exporter)


def _encode_other(value: Any, kind: type, exporter: Exporter) -> Any:
    if issubclass(kind, Remote) or exporter.is_under_test(kind):
        return exporter.export(value)
    name = standard_name(value)
    if name:
        return ["v", name, *(encode(part, exporter) for part in standard_parts(name, value))]
    if not any(base in _BASES for base in kind.__mro__):
        return _encode_name(value) or exporter.export(value)
    plain = plain_value(value)
    return (
        encode(plain, exporter)
        if type(plain) in _MUTABLE_BASES
        else ["x", encode(plain, exporter), exporter.export(value)]
    )


def plain_value(value: Any) -> Any:
    """Return the value of a subclass of a built-in type as one of that type, whatever the subclass overloads."""
    base = next(base for base in type(value).__mro__ if base in _BASES)
    return _BASES[base](value)


def decode(data: Any, resolve: Resolve) -> Any:
    """Return the value that was encoded: built-in or standard, or what ``resolve`` makes of a handle.

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
        found = _DECODERS[tag](content, lambda item: decode(item, resolve))
    except (ProtocolError, MemoryError, RecursionError):
        raise
    except Exception as error:
        raise ProtocolError(f"malformed {tag!r}: {error}") from error
    return resolve("x", found) if tag == "x" else found


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
    return [recurse(item) for item in value]


def _pairs(value: dict, recurse: Callable) -> list:
    return [[recurse(key), recurse(item)] for key, item in value.items()]


def _bytes(value: Any, _recurse: Callable) -> list:
    return [base64.b64encode(value).decode()]


_PLAIN: dict[type, tuple[str, Callable[[Any, Callable], list]]] = {
    float: ("f", lambda value, _: [repr(value)]),
    list: ("l", _items),
    tuple: ("t", _items),
    dict: ("d", _pairs),
    set: ("s", _items),
    frozenset: ("z", _items),
    bytes: ("b", _bytes),
    bytearray: ("y", _bytes),
    complex: ("c", lambda value, _: [repr(value.real), repr(value.imag)]),
    range: ("r", lambda value, recurse: [recurse(value.start), recurse(value.stop), recurse(value.step)]),
    fractions.Fraction: ("q", lambda value, recurse: [recurse(value.numerator), recurse(value.denominator)]),
    decimal.Decimal: ("m", lambda value, _: [str(value)]),
}
_BASES: dict[type, Callable[[Any], Any]] = {
    int: int.__index__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    fractions.Fraction: lambda value: fractions.Fraction(value._numerator, value._denominator),
    decimal.Decimal: lambda value: decimal.Decimal(decimal.Decimal.__str__(value)),
    list: lambda value: list(list.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    bytearray: lambda value: bytearray(bytearray.__getitem__(value, slice(None))),
}
_MUTABLE_BASES = (list, dict, set, bytearray)

_DECODERS: dict[str, Callable[[list, Callable], Any]] = {
    "i": lambda content, _: int(content[0], 16),
    "f": lambda content, _: float(content[0]),
    "l": lambda content, recurse: [recurse(item) for item in content],
    "t": lambda content, recurse: tuple(recurse(item) for item in content),
    "d": lambda content, recurse: {recurse(key): recurse(value) for key, value in content},
    "s": lambda content, recurse: {recurse(item) for item in content},
    "z": lambda content, recurse: frozenset(recurse(item) for item in content),
    "b": lambda content, _: base64.b64decode(content[0], validate=True),
    "y": lambda content, _: bytearray(base64.b64decode(content[0], validate=True)),
    "c": lambda content, _: complex(float(content[0]), float(content[1])),
    "r": lambda content, recurse: range(*(recurse(item) for item in content)),
    "q": lambda content, recurse: fractions.Fraction(recurse(content[0]), recurse(content[1])),
    "m": lambda content, _: decimal.Decimal(content[0]),
    "n": lambda content, _: _named(content[0]),
    "v": lambda content, recurse: build_standard(content[0], [recurse(part) for part in content[1:]]),
    "x": lambda content, recurse: [recurse(content[0]), content[1]],
}

_NAMED_BUILTINS = frozenset((
    *("abs", "all", "any", "bin", "bool", "bytearray", "bytes", "chr", "complex", "dict", "divmod", "float"),
    *("frozenset", "hex", "int", "len", "list", "max", "min", "object", "oct", "ord", "pow", "range", "repr"),
    *("reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple"),
    *(name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)),
))  # fmt: skip


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
