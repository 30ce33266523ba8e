"""Values of expressions: two are equal when they agree to 40 digits at several points, with letters as variables.

A rounded decimal is therefore not equal to what it rounds. Everything is bounded, for the expressions are a model's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, localcontext
from math import factorial

from codeft_eval.benchmarks.math_tokens import Node

_ARITHMETIC = {"number", "add", "multiply", "divide", "power"}
_DIGITS, _EQUAL_DIGITS, _MAXIMUM_EXPONENT, _MAXIMUM_FACTORIAL = 60, 40, 10_000, 1_000
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534")
# Where letters are evaluated: on both sides of 0 and 1, since roots and logarithms are undefined at some.
_RANGES = ((2, 3), (0, 1), (11, 13), (-3, -2), (101, 110))
_AT_LEAST = 2
"""Points at which both sides have a value; one is enough where there is no letter."""


class NoValueError(ValueError):
    """The expression has no value at this point, or not one that is computed here."""


def is_same_value(left: Node, right: Node) -> bool:
    """Return whether two expressions are equal wherever both have a value."""
    return _agreements(left, right, lambda one, other: one if _is_near(one, other) else None) is not None


def is_same_ratio(left: Node, right: Node) -> bool:
    """Return whether two expressions are the same but for a constant factor, as equal equations are."""
    ratios = _agreements(left, right, lambda one, other: one / other if other else None)
    return bool(ratios) and all(_is_near(ratio, ratios[0]) for ratio in ratios)


def has_open_sum(node: Node) -> bool:
    """Return whether numbers are left to be added, as in ``501^2-499^2``, which may restate the problem; not ``1+1/2``.

    A sum with a letter, a root or a function has no shorter form in general.
    """
    kind, *parts = node
    if kind == "add" and _kinds(node) <= _ARITHMETIC and not _is_mixed_number(parts):
        return True
    return any(has_open_sum(part) for part in parts if isinstance(part, tuple))


def _kinds(node: Node) -> set[str]:
    return {node[0]}.union(*(_kinds(part) for part in node[1:] if isinstance(part, tuple)))


def _is_mixed_number(terms: list[Node]) -> bool:
    return [term[0] for term in terms] == ["number", "divide"]


def _agreements(left: Node, right: Node, compare: Callable[[Decimal, Decimal], Decimal | None]) -> list | None:
    """Return what ``compare`` finds at each point; None when it finds nothing at one, or there are too few points."""
    found = []
    with localcontext(Context(prec=_DIGITS)):
        for number in range(len(_RANGES)):
            try:
                values = _value(left, number), _value(right, number)
            except (NoValueError, DecimalException, RecursionError, KeyError):
                continue
            agreed = compare(*values)
            if agreed is None:
                return None
            found.append(agreed)
    return found if len(found) >= _AT_LEAST else None


def _is_near(one: Decimal, other: Decimal) -> bool:
    if not one.is_finite() or not other.is_finite():
        return one == other
    return abs(one - other) <= max(abs(one), abs(other), Decimal(1)) * Decimal(10) ** -_EQUAL_DIGITS


def _value(node: Node, point: int) -> Decimal:
    return _EVALUATORS[node[0]](point, *node[1:])


def _number(_point: int, text: str) -> Decimal:
    return Decimal(text)


def _symbol(point: int, name: str) -> Decimal:
    if name == "pi":
        return +_PI
    if name == "infty":
        return Decimal("Infinity")
    low, high = _RANGES[point]
    return low + (high - low) * Decimal(zlib.crc32(f"{name}{point}".encode()) % 999_983 + 1) / 999_985


def _add(point: int, *terms: Node) -> Decimal:
    return sum((_value(term, point) for term in terms), Decimal(0))


def _multiply(point: int, left: Node, right: Node) -> Decimal:
    return _value(left, point) * _value(right, point)


def _divide(point: int, above: Node, below: Node) -> Decimal:
    return _value(above, point) / _value(below, point)


def _power(point: int, base: Node, exponent: Node) -> Decimal:
    below, above = _value(base, point), _value(exponent, point)
    if abs(above) > _MAXIMUM_EXPONENT:
        raise NoValueError("too large a power")
    return below**above


def _root(point: int, radicand: Node, degree: Node) -> Decimal:
    inside, order = _value(radicand, point), _value(degree, point)
    if order == 2:
        return inside.sqrt()
    if inside < 0 and order % 2 == 1:
        return -((-inside) ** (1 / order))
    return inside ** (1 / order)


def _factorial(point: int, number: Node) -> Decimal:
    value = _value(number, point)
    if not 0 <= value <= _MAXIMUM_FACTORIAL or value != int(value):
        raise NoValueError("no small whole number")
    return Decimal(factorial(int(value)))


def _function(point: int, name: str, argument: Node, *base: Node) -> Decimal:
    inside = _value(argument, point)
    if name == "log":
        return inside.ln() / _value(base[0], point).ln()
    return _FUNCTIONS[name](inside)


def _sine(angle: Decimal) -> Decimal:
    """Return the sine by its series, after the angle is brought near zero."""
    reduced = angle.remainder_near(2 * _PI)
    term, total, order = reduced, reduced, 1
    while abs(term) > Decimal(10) ** -_DIGITS:
        order += 2
        term *= -reduced * reduced / (order * (order - 1))
        total += term
    return total


def _cosine(angle: Decimal) -> Decimal:
    return _sine(angle + _PI / 2)


_FUNCTIONS: dict[str, Callable[[Decimal], Decimal]] = {
    "sin": _sine,
    "cos": _cosine,
    "tan": lambda angle: _sine(angle) / _cosine(angle),
    "cot": lambda angle: _cosine(angle) / _sine(angle),
    "sec": lambda angle: 1 / _cosine(angle),
    "csc": lambda angle: 1 / _sine(angle),
    "ln": Decimal.ln,
    "exp": Decimal.exp,
    "abs": abs,
}
_EVALUATORS: dict[str, Callable[..., Decimal]] = {
    "number": _number,
    "symbol": _symbol,
    "add": _add,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "root": _root,
    "factorial": _factorial,
    "function": _function,
}
NUMERIC_KINDS = frozenset(_EVALUATORS)
"""The kinds of nodes that have a value."""
