"""The meaning of a composition: its value on given arguments, computed move by move and without any body.

The values of bodies are compared with it in the tests; while exercises are made, it says which arguments suit examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from codeft_assets.exercises.catalogue import PRIMITIVES
from codeft_assets.exercises.composition import (
    ALL,
    ANY,
    APPLY,
    COUNT,
    EACH,
    EACH_VALUE,
    KEEP,
    KEEP_KEYS,
    KEEP_VALUES,
    Composition,
)

MAX_NUMBER, MAX_SIZE = 1_000_000, 60
"""Larger values and longer lists or strings make no example that a person would write; JavaScript's numbers are exact
far beyond."""
Function = Callable[[Any], Any]
_EVALUATE: dict[str, Callable[[Function, Any], Any]] = {
    APPLY: lambda function, value: function(value),
    EACH: lambda function, value: [function(x) for x in value],
    KEEP: lambda function, value: [x for x in value if function(x)],
    COUNT: lambda function, value: len([x for x in value if function(x)]),
    ANY: lambda function, value: any([function(x) for x in value]),
    ALL: lambda function, value: all([function(x) for x in value]),
    EACH_VALUE: lambda function, value: {k: function(v) for k, v in value.items()},
    KEEP_VALUES: lambda function, value: {k: v for k, v in value.items() if function(v)},
    KEEP_KEYS: lambda function, value: {k: v for k, v in value.items() if function(k)},
}


class NoValueError(ValueError):
    """The composition has no value for these arguments, or one that suits no example."""


@cache
def function_of(key: str) -> Callable[[Any, Any], Any]:
    """Return a primitive as a function of its input and its parameter."""
    source = PRIMITIVES[key].python.replace("$x", "(_x)").replace("$k", "(_k)")  # no variable of ours
    return eval(f"lambda _x, _k: {source}", {"math": math})  # noqa: S307  our own descriptions


def evaluate(composition: Composition, value: Any, parameters: Sequence[Any]) -> Any:
    """Return the value of a composition; ``parameters`` are the moves'.

    Raises:
        NoValueError: there is none, or it suits no example, or a value on the way does not.
    """
    for move, parameter in zip(composition.moves, parameters, strict=True):
        function = function_of(move.primitive.key)
        try:
            value = _EVALUATE[move.use](lambda x, f=function, k=parameter: f(x, k), value)
        except (ValueError, IndexError, ZeroDivisionError) as error:
            raise NoValueError(f"{composition.key}: {error}") from error
        if not _suits_examples(value):
            raise NoValueError(f"{composition.key}: {str(value)[:80]} suits no example")
    return value


def _suits_examples(value: Any) -> bool:
    """Return whether a value is small, and the same in JavaScript, whose objects put keys such as ``'42'`` first."""
    if isinstance(value, int):
        return abs(value) <= MAX_NUMBER
    if isinstance(value, str):
        return len(value) <= MAX_SIZE
    if isinstance(value, dict):
        return not any(key.isdigit() for key in value) and _suits_examples(list(value.values()))
    return len(value) <= MAX_SIZE and all(map(_suits_examples, value))
