"""Topics, subjects, levels and styles of exercises, from which each one is drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

NUM_SHOTS = 3

_TOPICS = """
sums and products; counting with a condition; minimum and maximum; averages and medians; rounding; divisors;
remainders; digits of a number; powers and roots; primes; greatest common divisors; binary numbers; other bases;
sequences of numbers; recursion; simulation; intervals; coordinates on a grid; distances; geometry; percentages; unit
conversion; money and change; dates as numbers; clock times; ages; comparing two lists; merging sorted lists; removing
duplicates; the most frequent item; the first item with a property; positions in a list; neighbours in a list; running
totals; sliding windows; pairs with a property; longest run; rotating a list; reversing parts; splitting a list;
flattening nested lists; rows and columns of a matrix; transposing; diagonals; sorting by a key; ranking;
partitioning; binary search; filtering by type; mapping a list; zipping lists; dictionaries from lists; inverting a
dictionary; merging dictionaries; grouping by a key; counting with a dictionary; nested dictionaries; default values;
sets and their differences; subsets; counting characters; vowels and consonants; upper and lower case; palindromes;
anagrams; prefixes and suffixes; replacing characters; removing characters; words of a sentence; longest and shortest
words; capitalizing words; acronyms; splitting at a separator; joining with a separator; padding and alignment;
parsing numbers from text; parsing key=value pairs; checking a format; brackets that match; run-length encoding;
simple ciphers; morse or roman codes; comparing version numbers; file names and paths; tables as text; scores of a
game; inventories; queues and stacks; schedules; routes and steps; voting; validation of input; bit operations;
combinations; permutations; matrices of zeros and ones; levels of a tree as nested lists; graphs as dictionaries;
polynomials; fractions; statistics; thresholds; state machines; text statistics; substrings; interleaving; chunks of
fixed size; cumulative maximum; swapping; clamping; interpolation; checksums
"""
TOPICS = tuple(topic.strip() for topic in " ".join(_TOPICS.split()).split(";"))
_SUBJECTS = """
numbers integers floats words sentences letters digits names scores prices temperatures heights weights ages votes
grades coins cards dice steps distances speeds orders items baskets products shelves books pages authors songs
playlists films ratings messages emails users passwords keys codes tags labels colors pixels images rows columns cells
points lines circles rectangles boxes teams players games rounds moves boards tickets seats rooms floors doors trains
stations buses routes cities countries maps islands rivers planets stars days weeks months years hours minutes events
meetings tasks projects employees salaries invoices accounts transfers balances rates plants animals birds fish
recipes ingredients meals cups bottles sensors readings signals samples logs versions files folders commands tokens
symbols equations vectors intervals ranges queues stacks trees graphs nodes edges parents children strings lists
tuples dictionaries sets
"""
SUBJECTS = tuple(_SUBJECTS.split())
LEVELS = ("very easy", "easy", "medium", "tricky")
STYLES = (
    "one short sentence",
    "two sentences",
    "a sentence and a note on the empty case",
    "a short story",
    "a precise rule",
    "a question answered by the function",
    "an imperative with a condition",
    "plain words without types",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The subject of one exercise, as the teacher is given it."""

    number: int
    topic: str
    subject: str
    level: str
    style: str
    name: str
    """A function's name to start from; empty where the teacher chooses."""
    shots: tuple[int, ...]
    """Numbers of the examples that it is shown."""

    @property
    def start(self) -> str:
        """The text that the teacher goes on from: no space at its end, which would be part of the next token."""
        return f"def {self.name}(" if self.name else "def"

    @property
    def about(self) -> str:
        """The line above an exercise."""
        return f"# topic: {self.topic}, {self.subject}; level: {self.level}; style: {self.style}"


def draw_task(seed: int, number: int, num_shots: int, names: Sequence[str] = ()) -> Task:
    """Return task ``number`` of a seed, which depends on nothing else.

    Args:
        seed: Of the draw.
        number: Any whole number.
        num_shots: The examples there are to choose from.
        names: Functions' names, one of which each task starts from; none: the teacher chooses.
    """
    rng = random.Random(f"taught/{seed}/{number}")  # noqa: S311  a draw, not a secret
    return Task(
        number=number,
        topic=rng.choice(TOPICS),
        subject=rng.choice(SUBJECTS),
        level=rng.choice(LEVELS),
        style=rng.choice(STYLES),
        name=rng.choice(names) if names else "",
        shots=tuple(rng.sample(range(num_shots), NUM_SHOTS)),
    )
