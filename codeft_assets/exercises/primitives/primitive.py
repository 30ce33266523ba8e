"""The description of a primitive: one operation on a value, in words, in Python and in JavaScript.

To add a primitive, add an entry to the module of the type that it takes. In code ``$x`` is its input and ``$k`` its
parameter; in words ``{}`` is its input. Invariant: where the Python expression has a value, the JavaScript expression
has the same one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

INT, STR, BOOL, CHAR = "int", "str", "bool", "character"
INTS, STRS, CHARS, ROWS, COUNTS = "list[int]", "list[str]", "list of characters", "list[list[int]]", "dict[str, int]"
LIST_OF = {INT: INTS, STR: STRS, CHAR: CHARS, INTS: ROWS}
ELEMENT_OF = {collection: element for element, collection in LIST_OF.items()}
NOUNS = {INTS: "numbers", STRS: "words", CHARS: "characters", ROWS: "rows"}
"""The elements of a list, in words."""
PARAMETER = "$k"


@dataclass(frozen=True, slots=True)
class Loop:
    """An accumulation over the elements of a list; ``$x`` is an element."""

    start: str
    step: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """One operation; a test is one that gives a ``bool``, and its phrase is a predicate."""

    name: str
    """A part of the names of functions."""
    takes: str
    gives: str
    phrase: str
    """``the square of {}``; of a test ``is even``."""
    python: str
    javascript: str
    plural: str = ""
    """The phrase for each element of a list; empty: derived from the phrase."""
    iterable: tuple[str, str] | None = None
    """In Python and JavaScript, the values to iterate over where no list is needed."""
    loop: tuple[Loop, Loop] | None = None
    """In Python and JavaScript."""
    choices: tuple[int | str, ...] = ()
    """Values of the parameter; empty: there is none."""
    argument: str = ""
    """The parameter's name where it is an argument of the function."""
    sets_order: bool = False
    """Its result differs from its input in the order of the elements only."""
    ignores_order: bool = False

    def __post_init__(self) -> None:
        if bool(self.choices) != (PARAMETER in self.python) or bool(self.choices) != bool(self.argument):
            raise ValueError(
                f"primitive {self.name!r}: choices {self.choices}, argument {self.argument!r} and {PARAMETER!r} in "
                f"{self.python!r} belong together; give all three or none"
            )
        if self.is_test == ("{}" in self.phrase):
            raise ValueError(
                f"primitive {self.name!r}: phrase {self.phrase!r} must "
                f"{'be a predicate without' if self.is_test else 'have'} {{}}; correct the entry"
            )

    @property
    def key(self) -> str:
        """The name with the types, which is unique."""
        return f"{self.name}: {self.takes} -> {self.gives}"

    @property
    def is_test(self) -> bool:
        """Whether it decides about its input."""
        return self.gives == BOOL

    @property
    def repeats(self) -> bool:
        """Whether it can be applied to each element of a list."""
        if self.takes == INTS:  # rows: a list of lists needs words of its own
            return self.gives == INT or (self.gives == INTS and bool(self.plural))
        return self.takes in {INT, STR} and self.gives in {INT, STR}

    @property
    def for_each(self) -> str:
        """The phrase about the elements of a list: ``the squares of {}``; of a test ``are even``."""
        if self.plural:
            return self.plural
        if not self.is_test:
            return re.sub(r"^the ([\w ]*?)(\w)( of \{\})", r"the \1\2s\3", self.phrase)
        first, _, rest = self.phrase.partition(" ")
        verb = {"is": "are", "has": "have", "does": "do"}.get(first, first.removesuffix("s"))
        return f"{verb} {rest}"


def describe(
    takes: str, gives: str, name: str, phrase: str, python: str, javascript: str = "", **more: Any
) -> Primitive:
    """Return a primitive; without ``javascript`` the Python expression is both."""
    return Primitive(
        name=name, takes=takes, gives=gives, phrase=phrase, python=python, javascript=javascript or python, **more
    )


def accumulate(start: str, python: str, javascript: str = "") -> tuple[Loop, Loop]:
    """Return the loops in both languages that change the variable which ``start`` sets."""
    name = start.partition(" ")[0]
    return Loop(start, python, name), Loop(f"let {start};", f"{javascript or python};", name)
