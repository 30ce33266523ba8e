"""The benchmark of held-out compositions: items in HumanEval's format that no row of the source has a composition of.

Exercises to practise on have the same format and none of these compositions.

``codeft_eval`` ships the items as data, because it shares ``codeft_assets/base/`` only; a test makes them again and
compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from codeft_assets.exercises.composition import Composition
from codeft_assets.exercises.exercise import Exercise, make_exercise, prompt_of
from codeft_assets.exercises.subsets import Subset

SEED = 0
"""Not the seed of a source, whose exercises are never held out anyway."""
NUM_ITEMS = 100
MAX_ASSERTS = 8
_MIN_VALUES = 3
"""Different values among the asserts, two for a decision: no constant passes."""


def held_out_items(subset: Subset, name: str) -> list[dict[str, str]]:
    """Return ``NUM_ITEMS`` items, each of a held-out composition of its own.

    Args:
        subset: Of the exercises.
        name: Of the benchmark, as in its task ids.
    """
    exercises = _exercises(subset)
    return [_item(next(exercises), f"{name}/{number}") for number in range(NUM_ITEMS)]


def _exercises(subset: Subset) -> Iterator[Exercise]:
    seen: set[str] = set()

    def is_new(composition: Composition) -> bool:
        return composition.is_held_out and composition.key not in seen

    number = 0
    while True:
        exercise = make_exercise(SEED, number, subset=subset, accepts=is_new)
        number += 1
        values = {repr(value) for _, value in _calls(exercise)}
        if len(values) >= (2 if exercise.composition.gives == "bool" else _MIN_VALUES):
            seen.add(exercise.composition.key)
            yield exercise


def _calls(exercise: Exercise) -> Sequence[tuple[tuple[object, ...], object]]:
    return (*exercise.examples, *exercise.more_examples)[:MAX_ASSERTS]


def practice_items(subset: Subset, name: str, *, number: int, seed: int) -> list[dict[str, str]]:
    """Return ``number`` items of compositions that may be trained on; none of them is among the held-out items.

    Args:
        subset: Of the exercises.
        name: Of the file, as in its task ids.
        number: Of items.
        seed: Of the draw; a source's own seed gives its own exercises.
    """
    return [_item(make_exercise(seed, place, subset=subset), f"{name}/{place}") for place in range(number)]


def _item(exercise: Exercise, task_id: str) -> dict[str, str]:
    asserts = (
        f"    assert candidate({', '.join(map(repr, arguments))}) == {value!r}\n"
        for arguments, value in _calls(exercise)
    )
    return {
        "task_id": task_id,
        "prompt": prompt_of(exercise),
        "entry_point": exercise.signature.name,
        "canonical_solution": exercise.body,
        "test": "def check(candidate):\n" + "".join(asserts),
    }


def to_json_lines(items: Sequence[dict[str, str]]) -> str:
    """Return items as the benchmark's file holds them."""
    return "".join(json.dumps(item) + "\n" for item in items)
