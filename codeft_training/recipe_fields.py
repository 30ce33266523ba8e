"""The types and rules of a recipe's fields: checks of values, their words, and the way from text to a value."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a field's values, for the check and for people; a group has ``RULES`` by field."""

    text: str
    """Follows "must be"."""
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


AT_LEAST_0 = Rule("at least 0", lambda x: x >= 0)
AT_LEAST_1 = Rule("at least 1", lambda x: x >= 1)
POSITIVE = Rule("positive", lambda x: x > 0)
BELOW_1 = Rule("in 0..1, without 1", lambda x: 0 <= x < 1)
SHARE = Rule("in 0..1", lambda x: 0 <= x <= 1)
SEED = Rule("in 0..4294967295, for NumPy", lambda n: 0 <= n < 2**32)


def one_of(*choices: str) -> Rule:
    """Return the rule of a field with a few values."""
    return Rule(f"one of {choices}", choices.__contains__, choices)


def check_fields(group: Any) -> None:
    """Check the types of all values and the rule of each; ``1`` of a float becomes ``1.0``: one value, one hash.

    Raises:
        ValueError: a value is of another type, not finite or too large, or breaks its rule.
    """
    require_types(group)
    for name, rule in group.RULES.items():
        require(group, rule.text, rule.holds, name)


def describe_fields(group: type) -> dict[str, str]:
    """Return the words under each field of a group's class on one line, without code marks; "" where there are none."""
    words = dict.fromkeys(field_names(group), "")
    body = ast.parse(textwrap.dedent(inspect.getsource(group))).body[0].body  # type: ignore[attr-defined]
    for entry, after in pairwise(body):
        if isinstance(entry, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = str(after.value.value).replace("``", "")
            words[entry.target.id] = " ".join(said.split())  # type: ignore[union-attr]
    return words


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
    """Check that values are of their fields' types, and turn ``1`` of a float into ``1.0``.

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
