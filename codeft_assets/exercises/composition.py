"""Compositions: two or three primitives, each applied to the result of the one before it.

Invariant: whether a composition is held out depends on its primitives and their order only, so an exercise in other
words, of another style, with other parameters or in another language is held out with it.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from codeft_assets.exercises.primitives.primitive import BOOL, COUNTS, INT, INTS, LIST_OF, ROWS, STR, STRS, Primitive

APPLY, EACH, KEEP, COUNT, ANY, ALL = "apply", "each", "keep", "count", "any", "all"
EACH_VALUE, KEEP_VALUES, KEEP_KEYS = "each_value", "keep_values", "keep_keys"
_WEIGHTS = {APPLY: 6, EACH: 4, KEEP: 5, COUNT: 1, ANY: 1, ALL: 1, EACH_VALUE: 4, KEEP_VALUES: 4, KEEP_KEYS: 2}
_INPUTS = {INTS: 7, STRS: 4, STR: 4, INT: 3, COUNTS: 2, ROWS: 2}
"""The type of the function's argument, and its relative frequency."""
HELD_OUT_SHARE = 10
"""One composition in so many is never trained on."""


@dataclass(frozen=True, slots=True)
class Move:
    """A primitive and its use: on the value as it is, on each element, or to choose among elements."""

    use: str
    primitive: Primitive
    gives: str

    @property
    def key(self) -> str:
        """Use and primitive, as in the key of a composition."""
        return f"{self.use} {self.primitive.key}"


@dataclass(frozen=True, slots=True)
class Composition:
    """Moves one after the other; the type that each takes is the one that the move before it gives."""

    takes: str
    moves: tuple[Move, ...]

    @property
    def gives(self) -> str:
        """The type of the result."""
        return self.moves[-1].gives

    @property
    def key(self) -> str:
        """Equal for compositions that differ only in the order of tests that elements must all pass."""
        groups = itertools.groupby(self.moves, key=lambda move: move.use if move.use == KEEP else id(move))
        ordered = (sorted(move.key for move in group) for _, group in groups)
        return " | ".join(itertools.chain.from_iterable(ordered))

    @property
    def is_held_out(self) -> bool:
        """Whether no exercise of it is trained on; a single primitive is no composition."""
        digest = hashlib.sha256(f"held-out composition\0{self.key}".encode()).hexdigest()
        return len(self.moves) > 1 and int(digest[:16], 16) % HELD_OUT_SHARE == 0


def _uses(primitive: Primitive) -> Iterator[tuple[str, str, str]]:
    """Yield ``(type taken, use, type given)`` for all uses of a primitive."""
    yield primitive.takes, APPLY, primitive.gives
    many = LIST_OF.get(primitive.takes)
    if many and primitive.is_test:
        yield from ((many, use, gives) for use, gives in ((KEEP, many), (COUNT, INT), (ANY, BOOL), (ALL, BOOL)))
    if many and primitive.repeats:
        yield many, EACH, LIST_OF[primitive.gives]
    if primitive.takes == INT and primitive.gives in {INT, BOOL}:
        yield COUNTS, KEEP_VALUES if primitive.is_test else EACH_VALUE, COUNTS
    if primitive.takes == STR and primitive.is_test:
        yield COUNTS, KEEP_KEYS, COUNTS


def build_moves(primitives: Iterable[Primitive]) -> dict[str, list[Move]]:
    """Return the moves from each type."""
    moves: dict[str, list[Move]] = {}
    for primitive in primitives:
        for takes, use, gives in _uses(primitive):
            moves.setdefault(takes, []).append(Move(use, primitive, gives))
    return moves


def follows(before: Move, after: Move) -> bool:
    """Return whether a move after another is worth an exercise: it repeats nothing, and no order is set in vain."""
    if before.primitive.sets_order and before.use == APPLY:
        return not (after.primitive.ignores_order or after.primitive.sets_order or after.use in {COUNT, ANY, ALL})
    return before.primitive is not after.primitive


def draw_composition(
    rng: random.Random,
    moves: dict[str, list[Move]],
    lengths: Mapping[int, int],
    accepts: Callable[[Composition], bool],
) -> Composition:
    """Return a random composition that ``accepts`` accepts, of a number of moves by the frequencies of ``lengths``."""
    while True:
        takes = rng.choices([*_INPUTS], weights=[*_INPUTS.values()])[0]
        length = rng.choices([*lengths], weights=[*lengths.values()])[0]
        found = _draw_moves(rng, moves, takes, length)
        if len(found) == length:
            composition = Composition(takes, tuple(found))
            if accepts(composition):
                return composition


def _draw_moves(rng: random.Random, moves: dict[str, list[Move]], takes: str, length: int) -> list[Move]:
    found: list[Move] = []
    while len(found) < length:
        possible = [move for move in moves.get(takes, ()) if not found or follows(found[-1], move)]
        if not possible:
            break
        found.append(_draw_move(rng, possible))
        takes = found[-1].gives
    return found


def _draw_move(rng: random.Random, possible: Sequence[Move]) -> Move:
    """Return one of the moves: first its use, so that rare uses are as likely as those of many primitives."""
    uses = sorted({move.use for move in possible})
    use = rng.choices(uses, weights=[_WEIGHTS[use] for use in uses])[0]
    kinds = sorted({move.gives for move in possible if move.use == use})
    gives = rng.choice(kinds)
    return rng.choice([move for move in possible if (move.use, move.gives) == (use, gives)])


def count_compositions(moves: dict[str, list[Move]], length: int) -> int:
    """Return the number of compositions of ``length`` moves."""

    @cache
    def after(before: Move, left: int) -> int:
        if not left:
            return 1
        return sum(after(move, left - 1) for move in moves.get(before.gives, ()) if follows(before, move))

    return sum(after(move, length - 1) for takes in _INPUTS for move in moves.get(takes, ()))
