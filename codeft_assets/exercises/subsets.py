"""Subsets of all exercises: which primitives are composed, how many at a time, and in which styles.

A composition that is held out is held out of every subset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from codeft_assets.exercises.bodies import STYLES
from codeft_assets.exercises.catalogue import PRIMITIVES
from codeft_assets.exercises.composition import Move, build_moves
from codeft_assets.exercises.syntax import COMPREHENSION


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Primitives with the number and the style of their compositions."""

    name: str
    primitives: tuple[str, ...]
    """Keys of ``PRIMITIVES``."""
    lengths: Mapping[int, int]
    """The number of primitives in an exercise, and its relative frequency."""
    styles: tuple[str, ...]
    num_examples: tuple[int, ...]
    """Of a docstring: one of them is drawn."""

    @cached_property
    def moves(self) -> dict[str, list[Move]]:
        """The moves from each type."""
        return build_moves(PRIMITIVES[key] for key in self.primitives)


_BASIC = (
    "even: int -> bool",
    "odd: int -> bool",
    "positive: int -> bool",
    "negative: int -> bool",
    "above: int -> bool",
    "below: int -> bool",
    "multiple: int -> bool",
    "square: int -> int",
    "double: int -> int",
    "absolute: int -> int",
    "plus: int -> int",
    "times: int -> int",
    "last_digit: int -> int",
    "digits: int -> list[int]",
    "divisors: int -> list[int]",
    "up_to: int -> list[int]",
    "longer: str -> bool",
    "starting_with: str -> bool",
    "with: str -> bool",
    "upper: str -> bool",
    "palindromic: str -> bool",
    "upper: str -> str",
    "lower: str -> str",
    "reversed: str -> str",
    "first: str -> str",
    "length: str -> int",
    "vowel_count: str -> int",
    "words: str -> list[str]",
    "sum: list[int] -> int",
    "largest: list[int] -> int",
    "smallest: list[int] -> int",
    "count: list[int] -> int",
    "distinct_count: list[int] -> int",
    "ascending: list[int] -> list[int]",
    "descending: list[int] -> list[int]",
    "reversed: list[int] -> list[int]",
    "distinct: list[int] -> list[int]",
    "first: list[int] -> list[int]",
    "alphabetical: list[str] -> list[str]",
    "by_length: list[str] -> list[str]",
    "joined: list[str] -> str",
    "longest: list[str] -> str",
    "count: list[str] -> int",
    "values: dict[str, int] -> list[int]",
    "keys: dict[str, int] -> list[str]",
    "flat: list[list[int]] -> list[int]",
)
BASIC = Subset(name="basic", primitives=_BASIC, lengths={1: 1, 2: 4}, styles=(COMPREHENSION,), num_examples=(1, 1, 2))
"""Few primitives, two at a time, in one style: a model of a million parameters learns it in minutes."""
ALL = Subset(
    name="all", primitives=tuple(PRIMITIVES), lengths={1: 1, 2: 6, 3: 3}, styles=STYLES, num_examples=(1, 2, 2, 3)
)
SUBSETS = {subset.name: subset for subset in (BASIC, ALL)}
