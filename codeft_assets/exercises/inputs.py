"""Random arguments of exercises: small values, as people write them into examples."""

from __future__ import annotations

import random
from collections.abc import Callable

from codeft_assets.exercises.primitives.primitive import COUNTS, INT, INTS, ROWS, STR, STRS

_TEXT = (
    "apple level banana otter kayak tree Moon radar code python Anna data list window STOP noon river queen ocean "
    "igloo echo area yes GO tent eve rust lemon civic Umbrella error abc stats tiger bee green book Rome IBM sun "
    "letter coffee at i deed Iris ant zoo lint art"
)
_WORDS = tuple(_TEXT.split())
_ENDS = ("", "", "", "!", " 42", "?", " 7", " v2", "-x", "3")
VARIABLES = {
    INT: ("n", "number", "value", "num"),
    STR: ("text", "string", "s", "word"),
    INTS: ("numbers", "nums", "values", "items", "xs"),
    STRS: ("words", "names", "strings", "tokens"),
    ROWS: ("rows", "grid", "matrix", "table"),
    COUNTS: ("counts", "scores", "stock", "points"),
}
"""Names for an argument of each type."""


def _number(rng: random.Random) -> int:
    return rng.choice((rng.randint(-9, 9), rng.randint(0, 30), rng.randint(0, 30), rng.randint(10, 150)))


def _numbers(rng: random.Random) -> list[int]:
    found = [_number(rng) for _ in range(rng.choice((0, 1, 3, 4, 5, 5, 6, 7)))]
    if len(found) > 2 and rng.random() < 0.4:
        found[-1] = rng.choice(found)  # a repetition
    return found


def _words(rng: random.Random) -> list[str]:
    found: list[str] = rng.choices(_WORDS, k=rng.choice((0, 1, 2, 3, 4, 4, 5)))
    return found + found[:1] if rng.random() < 0.3 else found


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.choice((1, 1, 2, 3)))) + rng.choice(_ENDS)


def _rows(rng: random.Random) -> list[list[int]]:
    width = rng.choice((1, 2, 3, 3))
    return [[rng.randint(-5, 20) for _ in range(width)] for _ in range(rng.choice((1, 2, 2, 3)))]


def _counts(rng: random.Random) -> dict[str, int]:
    return {rng.choice(_WORDS): rng.randint(0, 25) for _ in range(rng.choice((1, 2, 3, 4)))}


_DRAW: dict[str, Callable[[random.Random], object]] = {
    INT: lambda rng: rng.choice((rng.randint(0, 9), rng.randint(1, 40), rng.randint(10, 200))),
    STR: _text,
    INTS: _numbers,
    STRS: _words,
    ROWS: _rows,
    COUNTS: _counts,
}


def draw_argument(takes: str, rng: random.Random) -> object:
    """Return a random value of a type."""
    return _DRAW[takes](rng)
