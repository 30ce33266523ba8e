"""Words about a composition: the name of its function and its docstring, in several voices.

Two texts are derived from the phrases of the primitives: a noun phrase, "the sum of the squares of the numbers in
``numbers`` that are even", and steps, "keep those that are even, take the square of each, return their sum".
"""

from __future__ import annotations

import builtins
import keyword
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    Move,
)
from codeft_assets.exercises.primitives.primitive import BOOL, COUNTS, INT, INTS, NOUNS, PARAMETER, ROWS, STR, STRS

KINDS = {
    INT: "a whole number",
    STR: "a string",
    INTS: "a list of whole numbers",
    STRS: "a list of words",
    ROWS: "a list of rows of whole numbers",
    COUNTS: "a dictionary from words to whole numbers",
}
_NAMES_ARE_GENERAL = 0.12
"""Share of functions whose name says nothing, so that the docstring has to be read."""
_GENERAL_NAMES = ("solve", "compute", "process", "transform", "evaluate", "answer", "f")
_TAKEN = {*keyword.kwlist, *dir(builtins), "double"}
"""Words of a language, and functions that a body calls."""
_PREFIXES = {COUNT: "count_", ANY: "any_", ALL: "all_", KEEP_KEYS: "key_"}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase about a value, and the use of the last move in it."""

    text: str
    use: str = ""
    is_variable: bool = True
    takes: str = ""


def function_name(composition: Composition, rng: random.Random) -> str:
    """Return a name of the primitives' names, the last one first, or one that says nothing."""
    if rng.random() < _NAMES_ARE_GENERAL:
        return rng.choice(_GENERAL_NAMES)
    parts = [f"{_PREFIXES.get(move.use, '')}{move.primitive.name}" for move in reversed(composition.moves)]
    name = "_".join(parts)
    return f"get_{name}" if name in _TAKEN else name


def _parameter(phrase: str, value: str) -> str:
    return phrase.replace(PARAMETER, value)


def _of_elements(phrase: Phrase) -> str:
    """Return the phrase as one about the elements of a list."""
    if not phrase.is_variable or phrase.takes not in NOUNS:
        return phrase.text
    return f"the {NOUNS[phrase.takes]} in {phrase.text}"


def _keep(phrase: Phrase, predicate: str) -> str:
    if phrase.use == KEEP:
        return f"{phrase.text} and {predicate}"
    if phrase.is_variable:
        return f"{_of_elements(phrase)} that {predicate}"
    return f"those of {phrase.text} that {predicate}"


def _entries(phrase: Phrase, part: str, predicate: str) -> str:
    if phrase.use in {KEEP_KEYS, KEEP_VALUES}:
        return f"{phrase.text} and whose {part} {predicate}"
    return f"the entries of {phrase.text} whose {part} {predicate}"


def _apply(phrase: Phrase, move: Move) -> str:
    words = move.primitive.phrase
    if not move.primitive.is_test:
        return words.replace("{}", phrase.text if phrase.takes == ROWS else _of_elements(phrase))
    subject = phrase.text if phrase.is_variable or phrase.takes not in NOUNS else f"the list of {phrase.text}"
    return f"whether {subject} {words}"


_NOUN_PHRASES: dict[str, Callable[[Phrase, Move], str]] = {
    APPLY: _apply,
    EACH: lambda phrase, move: move.primitive.for_each.replace("{}", _of_elements(phrase)),
    KEEP: lambda phrase, move: _keep(phrase, move.primitive.for_each),
    COUNT: lambda phrase, move: f"how many of {_of_elements(phrase)} {move.primitive.for_each}",
    ANY: lambda phrase, move: f"whether any of {_of_elements(phrase)} {move.primitive.phrase}",
    ALL: lambda phrase, move: f"whether all of {_of_elements(phrase)} {move.primitive.for_each}",
    EACH_VALUE: lambda phrase, move: (
        f"{phrase.text} with each value replaced by {move.primitive.phrase.replace('{}', 'it')}"
    ),
    KEEP_VALUES: lambda phrase, move: _entries(phrase, "value", move.primitive.phrase),
    KEEP_KEYS: lambda phrase, move: _entries(phrase, "key", move.primitive.phrase),
}


def noun_phrase(composition: Composition, variable: str, parameters: Sequence[str]) -> str:
    """Return "the sum of the squares of ..."; ``parameters`` are the moves' as the docstring shows them."""
    phrase = Phrase(f"`{variable}`", takes=composition.takes)
    for move, value in zip(composition.moves, parameters, strict=True):
        text = _parameter(_NOUN_PHRASES[move.use](phrase, move), value)
        phrase = Phrase(text, use=move.use, is_variable=False, takes=move.gives)
    return phrase.text


def _apply_step(move: Move, pronoun: str) -> str:
    if move.primitive.is_test:
        return f"whether {'the list' if pronoun == 'them' else 'it'} {move.primitive.phrase}"
    return move.primitive.phrase.replace("{}", pronoun)


_STEPS: dict[str, Callable[[Move, str], str]] = {
    APPLY: _apply_step,
    EACH: lambda move, pronoun: move.primitive.phrase.replace("{}", "each"),
    KEEP: lambda move, pronoun: f"those that {move.primitive.for_each}",
    COUNT: lambda move, pronoun: f"how many of {pronoun} {move.primitive.for_each}",
    ANY: lambda move, pronoun: f"whether any of {pronoun} {move.primitive.phrase}",
    ALL: lambda move, pronoun: f"whether all of {pronoun} {move.primitive.for_each}",
    EACH_VALUE: lambda move, pronoun: f"for each value {move.primitive.phrase.replace('{}', 'it')}",
    KEEP_VALUES: lambda move, pronoun: f"the entries whose value {move.primitive.phrase}",
    KEEP_KEYS: lambda move, pronoun: f"the entries whose key {move.primitive.phrase}",
}
_VERBS = {KEEP: "keep", KEEP_VALUES: "keep", KEEP_KEYS: "keep"}


def step_phrases(composition: Composition, parameters: Sequence[str]) -> list[str]:
    """Return one phrase per move, "keep those that are even", the last one beginning with "return"."""
    pronoun, phrases = ("them" if composition.takes in NOUNS else "it"), []
    last = len(composition.moves) - 1
    for number, (move, value) in enumerate(zip(composition.moves, parameters, strict=True)):
        verb = "return" if number == last else _VERBS.get(move.use, "take")
        phrases.append(f"{verb} {_parameter(_STEPS[move.use](move, pronoun), value)}")
        pronoun = "them" if move.gives in NOUNS else "it"
    return phrases


def docstring(composition: Composition, variable: str, parameters: Sequence[str], rng: random.Random) -> str:
    """Return the statement of an exercise in one of several voices."""
    nouns = noun_phrase(composition, variable, parameters)
    given = f"Given {KINDS[composition.takes]} `{variable}`, "
    voices = [f"Return {nouns}.", f"Return {nouns}.", f"{given}return {nouns}."]
    if composition.gives == BOOL:
        voices.append(f"Check {nouns}.")
    elif not nouns.startswith(("`", "how")):
        voices += [f"Find {nouns}.", f"{nouns[0].upper()}{nouns[1:]}."]
    if len(composition.moves) > 1:
        steps = step_phrases(composition, parameters)
        voices += [f"Start with `{variable}`: {', then '.join(steps[:-1])}, and {steps[-1]}."] * 2
    return rng.choice(voices)
