"""Exceptions between judge and candidate: names and a message, never an object."""

from __future__ import annotations

import builtins
from typing import Any


class RemoteError(Exception):
    """An exception of the other side that has no built-in type."""


def describe_exception(error: BaseException) -> list:
    """Return the names of an exception's types, most derived first, and its message."""
    try:
        text = str(error)[:2000]
    except Exception as nested:  # noqa: BLE001  the program's own __str__ may raise anything
        text = f"unprintable: {type(nested).__name__}"
    return [[kind.__name__ for kind in type(error).__mro__], text]


def restore_exception(description: Any) -> Exception:
    """Return the exception described: of its nearest built-in type, never one that could end or steer the judge."""
    names, text = description if isinstance(description, list) and len(description) == 2 else ([], "")
    for name in names if isinstance(names, list) else []:
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        is_ordinary = isinstance(kind, type) and issubclass(kind, Exception)
        if kind and is_ordinary and kind not in (Exception, StopIteration, StopAsyncIteration):
            return _with_text(kind, str(text), str(names[0]))
    return RemoteError(f"{str(names[:1])[:100]}: {text}")


def _with_text(kind: type[Exception], text: str, name: str) -> Exception:
    try:
        return kind(text)
    except TypeError:  # UnicodeDecodeError and others require more than a message
        return RemoteError(f"{name}: {text}")
