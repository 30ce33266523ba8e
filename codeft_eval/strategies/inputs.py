"""Inputs on which solutions of one problem are compared: those of the prompt's examples, and variations of them.

Where a prompt has no examples, they are drawn for the annotations of the function's parameters. No expected value is
needed, so none is read.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Sequence
from typing import Any

from codeft_eval.strategies.examples import Example, function_of, literal_arguments

Arguments = tuple[object, ...]
NUM_INPUTS = 12
"""Argument lists a problem: our choice, of which no other was tried."""
_TRIES = 20
"""Variations drawn for an input that is wanted; a function of one truth value has two inputs only."""


def find_inputs(prompt: str, entry_point: str, examples: Sequence[Example]) -> list[Arguments]:
    """Return at most ``NUM_INPUTS`` argument lists, the same for the same prompt; none where nothing shows a type."""
    rng = random.Random(prompt)  # noqa: S311  repeatable, not secret
    shown = [found for one in examples if (found := literal_arguments(one, entry_point)) is not None]
    seeds = [arguments for arguments in shown if arguments] or _annotated(prompt, entry_point, rng)
    inputs = list({repr(arguments): arguments for arguments in seeds}.values())[:NUM_INPUTS]
    seen = {repr(arguments) for arguments in inputs}
    for _ in range(_TRIES * NUM_INPUTS if inputs else 0):
        if len(inputs) == NUM_INPUTS:
            break
        varied = tuple(_varied(value, rng) for value in rng.choice(inputs))
        if repr(varied) not in seen:
            seen.add(repr(varied))
            inputs.append(varied)
    return inputs


def _varied(value: Any, rng: random.Random) -> object:
    """Return a value of the same type: changed, or as it was."""
    vary = _VARIATIONS.get(type(value))
    return vary(value, rng) if vary and rng.random() < 0.8 else value


def _varied_list(value: list[Any], rng: random.Random) -> list[Any]:
    choices: list[Callable[[], list[Any]]] = [
        lambda: value[::-1],
        lambda: value[: len(value) // 2],
        lambda: value + value[:1],
        lambda: [_varied(item, rng) for item in value],
        lambda: rng.sample(value, len(value)),
    ]
    return rng.choice(choices)()


def _varied_text(value: str, rng: random.Random) -> str:
    choices = ("", value[::-1], value.swapcase(), value[: len(value) // 2], value + value, value.replace(" ", ""))
    return rng.choice(choices)


_VARIATIONS: dict[type, Callable[[Any, random.Random], object]] = {
    bool: lambda value, rng: not value,
    int: lambda value, rng: rng.choice((value + 1, value - 1, 2 * value, value // 2, value + 10, 0)),
    float: lambda value, rng: rng.choice((value + 0.5, -value, 2 * value, value / 4, 0.0)),
    str: _varied_text,
    list: _varied_list,
    tuple: lambda value, rng: tuple(_varied(item, rng) for item in value),
    set: lambda value, rng: {_varied(item, rng) for item in value},
    dict: lambda value, rng: {key: _varied(item, rng) for key, item in value.items()},
}


def _annotated(prompt: str, entry_point: str, rng: random.Random) -> list[Arguments]:
    """Return a few argument lists for a function's annotations; none where a parameter has none that is known."""
    function = function_of(prompt, entry_point)
    parameters = function.args.args if function else []
    try:
        return [
            tuple(_drawn(parameter.annotation, rng) for parameter in parameters)
            for _ in range(NUM_INPUTS // 2)
            if parameters
        ]
    except KeyError:
        return []


_SIMPLE: dict[str, tuple[object, ...]] = {
    "int": (0, 1, 2, 3, 5, 10, 12, 100),
    "float": (0.0, 0.5, 1.0, 2.5, 10.0),
    "str": ("", "a", "abc", "Hello World", "level", "a1 B2"),
    "bool": (True, False),
}


def _drawn(annotation: ast.expr | None, rng: random.Random) -> object:
    """Return a value of an annotated type.

    Raises:
        KeyError: the annotation is missing or of another type.
    """
    if isinstance(annotation, ast.Subscript):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return _CONTAINERS[_name(annotation.value)](inner, rng)
    return rng.choice(_SIMPLE[_name(annotation)])


def _name(node: ast.expr | None) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _drawn_list(inner: Sequence[ast.expr], rng: random.Random) -> list[object]:
    return [_drawn(inner[0], rng) for _ in range(rng.choice((0, 1, 3, 5)))]


_CONTAINERS: dict[str, Callable[[Sequence[ast.expr], random.Random], object]] = {
    **dict.fromkeys(("list", "List", "Sequence", "Iterable"), _drawn_list),
    **dict.fromkeys(("tuple", "Tuple"), lambda inner, rng: tuple(_drawn(part, rng) for part in inner)),
    **dict.fromkeys(("dict", "Dict"), lambda inner, rng: {_drawn(inner[0], rng): _drawn(inner[1], rng)}),
    "Optional": lambda inner, rng: _drawn(inner[0], rng),
}
