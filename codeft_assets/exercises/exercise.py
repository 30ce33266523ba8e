"""An exercise: a composition as a function with signature, docstring, computed examples and body.

Invariant: equal seeds and numbers give equal exercises, each independent of all others. Every example was computed by
running the body.
"""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codeft_assets.exercises.bodies import write_body
from codeft_assets.exercises.composition import Composition, draw_composition
from codeft_assets.exercises.inputs import VARIABLES, draw_argument
from codeft_assets.exercises.meaning import NoValueError, evaluate
from codeft_assets.exercises.primitives.primitive import BOOL, CHARS, INT, STR
from codeft_assets.exercises.subsets import ALL, Subset
from codeft_assets.exercises.syntax import PYTHON, SYNTAXES
from codeft_assets.exercises.wording import docstring, function_name

MAX_EXAMPLE_CHARS = 72
_NUM_TRIES = 14
_PARAMETER_IS_ARGUMENT = 0.25
_IS_TYPED = 0.75
_LINE_CHARS = 92
Arguments = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The names in a function and the types of its arguments."""

    name: str
    arguments: tuple[str, ...]
    """The value, and the parameter where it is an argument."""
    types: tuple[str, ...]
    gives: str
    is_typed: bool

    @property
    def python(self) -> str:
        """The line that begins the function."""
        if not self.is_typed:
            return f"def {self.name}({', '.join(self.arguments)}):"
        pairs = (f"{name}: {_annotation(kind)}" for name, kind in zip(self.arguments, self.types, strict=True))
        return f"def {self.name}({', '.join(pairs)}) -> {_annotation(self.gives)}:"

    @property
    def javascript(self) -> str:
        """The line that begins the function, its name in camel case."""
        return f"function {camel_case(self.name)}({', '.join(self.arguments)}) {{"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """A function with its statement, and calls with their values."""

    composition: Composition
    signature: Signature
    statement: str
    parameters: tuple[Any, ...]
    """The moves' parameters; None where a move has none, or the function's argument is the parameter."""
    style: str
    language: str
    body: str
    """Indented statements."""
    examples: tuple[tuple[Arguments, Any], ...]
    """The examples of the docstring: arguments and value."""
    more_examples: tuple[tuple[Arguments, Any], ...]
    """Further calls, which the docstring does not show."""


def camel_case(name: str) -> str:
    """Return a name as JavaScript writes it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _annotation(kind: str) -> str:
    return "list[str]" if kind == CHARS else kind


def make_exercise(
    seed: int,
    number: int,
    *,
    language: str = PYTHON.name,
    subset: Subset = ALL,
    accepts: Callable[[Composition], bool] = lambda composition: not composition.is_held_out,
) -> Exercise:
    """Return exercise ``number`` of a seed, of a composition that ``accepts`` accepts.

    Args:
        seed: With ``number`` it decides everything that is drawn.
        number: Any whole number.
        language: ``python`` or ``javascript``.
        subset: The primitives to compose, how many, and the styles.
        accepts: By default every composition that is not held out.
    """
    rng = random.Random(f"{seed}/{number}/{language}")  # noqa: S311  a draw, not a secret
    while True:
        composition = draw_composition(rng, subset.moves, subset.lengths, accepts)
        found = _try_exercise(composition, language, subset, rng)
        if found is not None:
            return found


def _try_exercise(composition: Composition, language: str, subset: Subset, rng: random.Random) -> Exercise | None:
    """Return an exercise of a composition; None where few arguments have a value or all have the same one."""
    parameters = [rng.choice(move.primitive.choices or (None,)) for move in composition.moves]
    place = _place_of_argument(composition, rng)
    calls = _calls(composition, parameters, place, rng)
    if len({repr(value) for _, value in calls}) < 2:
        return None
    signature = _signature(composition, place, rng)
    in_code = [signature.arguments[1] if i == place else repr(value) for i, value in enumerate(parameters)]
    in_words = [f"`{signature.arguments[1]}`" if i == place else repr(value) for i, value in enumerate(parameters)]
    style = rng.choice(subset.styles)
    body = write_body(composition, in_code, signature.arguments, syntax=SYNTAXES[language], style=style, rng=rng)
    num_shown = rng.choice(subset.num_examples)
    return Exercise(
        composition=composition,
        signature=signature,
        statement=docstring(composition, signature.arguments[0], in_words, rng),
        parameters=tuple(None if i == place else value for i, value in enumerate(parameters)),
        style=style,
        language=language,
        body=body,
        examples=tuple(calls[:num_shown]),
        more_examples=tuple(calls[num_shown:]),
    )


def _place_of_argument(composition: Composition, rng: random.Random) -> int | None:
    """Return the number of the move whose parameter is an argument of the function, where there is one."""
    places = [number for number, move in enumerate(composition.moves) if move.primitive.choices]
    return rng.choice(places) if places and rng.random() < _PARAMETER_IS_ARGUMENT else None


def _signature(composition: Composition, place: int | None, rng: random.Random) -> Signature:
    arguments, types = [rng.choice(VARIABLES[composition.takes])], [composition.takes]
    if place is not None:
        primitive = composition.moves[place].primitive
        arguments.append(primitive.argument)
        types.append(INT if isinstance(primitive.choices[0], int) else STR)
    return Signature(
        name=function_name(composition, rng),
        arguments=tuple(arguments),
        types=tuple(types),
        gives=composition.gives,
        is_typed=rng.random() < _IS_TYPED,
    )


def _calls(
    composition: Composition, parameters: Sequence[Any], place: int | None, rng: random.Random
) -> list[tuple[Arguments, Any]]:
    """Return different calls with their values, those first that say most."""
    found: dict[str, tuple[Arguments, Any]] = {}
    for _ in range(_NUM_TRIES):
        value, chosen = draw_argument(composition.takes, rng), list(parameters)
        arguments: Arguments = (value,)
        if place is not None:
            chosen[place] = rng.choice(composition.moves[place].primitive.choices)
            arguments = (value, chosen[place])
        try:
            result = evaluate(composition, value, chosen)
        except NoValueError:
            continue
        if len(repr(arguments)) <= MAX_EXAMPLE_CHARS and len(repr(result)) <= MAX_EXAMPLE_CHARS:
            found.setdefault(repr(arguments), (arguments, result))
    return _most_telling_first(list(found.values()), composition.gives == BOOL)


def _most_telling_first(calls: list[tuple[Arguments, Any]], is_decision: bool) -> list[tuple[Arguments, Any]]:
    """Return calls whose values differ, and are more than an empty list or zero, before the others."""
    seen: set[str] = set()
    ranked = []
    for arguments, value in calls:
        is_plain = not is_decision and value in ([], "", {}, 0)
        ranked.append((repr(value) in seen, is_plain, arguments, value))
        seen.add(repr(value))
    ranked.sort(key=lambda call: call[:2])
    return [(arguments, value) for _, _, arguments, value in ranked]


def call_text(exercise: Exercise, arguments: Arguments) -> str:
    """Return a call as Python."""
    return f"{exercise.signature.name}({', '.join(map(repr, arguments))})"


def wrap_statement(statement: str) -> list[str]:
    """Return the lines of a statement."""
    return textwrap.wrap(statement, _LINE_CHARS, break_on_hyphens=False, break_long_words=False)


def prompt_of(exercise: Exercise) -> str:
    """Return signature and docstring of a Python exercise, as HumanEval writes them."""
    lines = wrap_statement(exercise.statement)
    for arguments, value in exercise.examples:
        lines += [f">>> {call_text(exercise, arguments)}", repr(value)]
    inner = "\n    ".join(lines)
    imports = "import math\n\n\n" if "math." in exercise.body else ""
    return f'{imports}{exercise.signature.python}\n    """{inner}\n    """\n'


def python_code(exercise: Exercise) -> str:
    """Return a Python exercise solved."""
    return prompt_of(exercise) + exercise.body


def run_python(code: str, name: str, arguments: Arguments) -> Any:
    """Return the value of a call of a function that ``code`` defines; the code is ours."""
    names: dict[str, Any] = {"math": math}
    exec(compile(code, "exercise", "exec"), names)  # noqa: S102  written by this package, never by a model
    return names[name](*arguments)
