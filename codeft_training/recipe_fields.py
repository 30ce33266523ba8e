"""The types of a recipe's fields: checks of values, and the way from text to a value."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any


def require(group: object, rule: str, holds: Callable[[Any], bool], *names: str) -> None:
    """Check a rule for fields of a group.

    Raises:
        ValueError: a value breaks it.
    """
    for name in names:
        value = getattr(group, name)
        if not holds(value):
            raise ValueError(f"{name} = {value!r} must be {rule}")


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", lambda value: type(value) is bool),
    "float": ("a finite number", lambda value: type(value) in {int, float} and abs(value) <= sys.float_info.max),
    "int": ("a whole number of 64 bits", lambda value: type(value) is int and -(2**63) <= value < 2**63),
    "str": ("text", lambda value: type(value) is str),
}
"""By the annotation of a field: the rule for its value, which JSON or a caller may have given another type."""


def require_types(group: Any) -> None:
    """Check that values are of their fields' types, and turn ``1`` of a float into ``1.0``: one value, one hash.

    Raises:
        ValueError: a value is of another type, not finite or too large.
    """
    for entry in fields(group):
        if (kind := str(entry.type)) in _TYPES:
            require(group, *_TYPES[kind], entry.name)
        if kind == "float":
            object.__setattr__(group, entry.name, float(getattr(group, entry.name)))


def field_names(group: Any) -> list[str]:
    """Return the names of a group's fields."""
    return [entry.name for entry in fields(group)]


def _parse_bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _parse_list(text: str) -> list[Any]:
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError(text)
    return found


_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "bool": (_parse_bool, "true or false"),
    "float": (float, "of type float"),
    "int": (int, "of type int"),
    "str": (str, "of type str"),
    "tuple[Stage, ...]": (_parse_list, """JSON such as [{"name": "broad", "share": 1}]"""),
}
"""By the annotation of a field: from text to its value, and the rule for the text."""


def parse_values(kinds: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of fields given as text, by their fields' annotations.

    Raises:
        ValueError: a text is not of its field's type.
    """
    values: dict[str, Any] = {}
    for name, text in texts.items():
        parser, rule = _PARSERS[kinds[name]]
        try:
            values[name] = parser(text)
        except ValueError as error:
            raise ValueError(f"{name} = {text!r} must be {rule}") from error
    return values
