"""All primitives, by key."""

from __future__ import annotations

from codeft_assets.exercises.primitives.characters import ON_CHARACTERS
from codeft_assets.exercises.primitives.collections import ON_COLLECTIONS
from codeft_assets.exercises.primitives.list_measures import LIST_MEASURES
from codeft_assets.exercises.primitives.lists import ON_LISTS
from codeft_assets.exercises.primitives.number_tests import NUMBER_TESTS
from codeft_assets.exercises.primitives.numbers import ON_NUMBERS
from codeft_assets.exercises.primitives.primitive import Primitive
from codeft_assets.exercises.primitives.strings import ON_STRINGS
from codeft_assets.exercises.primitives.words import ON_WORDS

_ENTRIES = (
    *NUMBER_TESTS,
    *ON_NUMBERS,
    *ON_STRINGS,
    *ON_CHARACTERS,
    *LIST_MEASURES,
    *ON_LISTS,
    *ON_WORDS,
    *ON_COLLECTIONS,
)
PRIMITIVES: dict[str, Primitive] = {entry.key: entry for entry in _ENTRIES}
assert len(PRIMITIVES) == len(_ENTRIES), "the key of a primitive is its own"
