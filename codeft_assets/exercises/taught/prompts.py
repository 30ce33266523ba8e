"""The two prompts of an exercise: examples of statements to go on from, and a statement to solve."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from codeft_assets.exercises.taught.topics import Task

STATEMENT_STOPS = ('"""\n', "\n#", "\n\n\n")
"""Ends of a statement: the docstring's end, which alone is followed by a line break, or the next exercise."""
SOLUTION_STOPS = ("\n```", "\ndef ", "\nclass ", "\n@", "\nif ", "\nprint(", "\nassert ", "\nimport ", "\nfrom ", "\n#")
"""Ends of a body: whatever begins at the margin."""
MAX_STATEMENT_TOKENS, MAX_SOLUTION_TOKENS = 200, 200
STATEMENT_TEMPERATURE, SOLUTION_TEMPERATURE = 0.9, 0.6
"""Statements are to differ, solutions to be right."""

_INTRODUCTION = (
    "# Python exercises: a signature with types, and a docstring that says what to return and shows two or three "
    "different calls with their values."
)
_SHOTS = (
    '''# topic: thresholds, temperatures; level: easy; style: one short sentence
def days_above(temperatures: list[float], limit: float) -> int:
    """Return on how many days the temperature was above the limit.

    >>> days_above([18.5, 21.0, 25.5], 20.0)
    2
    >>> days_above([], 20.0)
    0
    """''',
    '''# topic: words of a sentence, sentences; level: easy; style: an imperative with a condition
def drop_short_words(sentence: str, length: int) -> str:
    """Remove the words that have fewer than `length` letters, and join the others with one space.

    >>> drop_short_words("it is a sunny day", 3)
    'sunny day'
    >>> drop_short_words("go on", 3)
    \'\'
    """''',
    '''# topic: grouping by a key, books; level: medium; style: a sentence and a note on the empty case
def titles_by_author(books: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Group titles by author, in the order in which they come. No books give an empty dictionary.

    >>> titles_by_author([("Ann", "Sea"), ("Bo", "Sky"), ("Ann", "Sun")])
    {'Ann': ['Sea', 'Sun'], 'Bo': ['Sky']}
    >>> titles_by_author([])
    {}
    """''',
    '''# topic: simulation, coins; level: tricky; style: a short story
def weeks_to_save(goal: int, first: int, step: int) -> int:
    """Mia saves `first` coins in week one and `step` coins more in each week than in the one before.
    Return the number of weeks after which she has at least `goal` coins.

    >>> weeks_to_save(10, 1, 1)
    4
    >>> weeks_to_save(0, 5, 2)
    0
    >>> weeks_to_save(20, 7, 3)
    3
    """''',
    '''# topic: positions in a list, numbers; level: easy; style: a question answered by the function
def last_index_of(numbers: list[int], wanted: int) -> int:
    """At which position does `wanted` occur for the last time? It is -1 where it does not occur.

    >>> last_index_of([4, 7, 4, 1], 4)
    2
    >>> last_index_of([4, 7], 3)
    -1
    """''',
    '''# topic: checking a format, codes; level: medium; style: a precise rule
def is_seat_code(code: str) -> bool:
    """A seat code is one or two digits followed by one of the letters A to F. Return whether `code` is one.

    >>> is_seat_code("12C")
    True
    >>> is_seat_code("C12")
    False
    >>> is_seat_code("7H")
    False
    """''',
    '''# topic: digits of a number, integers; level: medium; style: two sentences
def largest_rotation(number: int) -> int:
    """Move digits from the front of a positive number to its end. Return the largest number that can arise so.

    >>> largest_rotation(1923)
    9231
    >>> largest_rotation(50)
    50
    """''',
    '''# topic: rows and columns of a matrix, cells; level: medium; style: one short sentence
def column_sums(rows: list[list[int]]) -> list[int]:
    """Return the sum of each column of a table whose rows are of equal length.

    >>> column_sums([[1, 2], [3, 4], [5, 6]])
    [9, 12]
    >>> column_sums([[7]])
    [7]
    """''',
    '''# topic: inventories, products; level: medium; style: plain words without types
def restock(stock, sold, minimum):
    """Take what was sold from the stock and return the products of which fewer than minimum are left, sorted.

    >>> restock({"tea": 9, "milk": 4}, {"tea": 8}, 3)
    ['tea']
    >>> restock({"milk": 4}, {}, 3)
    []
    """''',
    '''# topic: run-length encoding, letters; level: tricky; style: a precise rule
def longest_streak(results: str) -> tuple[str, int]:
    """Return the letter with the longest unbroken run and the length of that run; the first one where two are equal.

    >>> longest_streak("WWLLLW")
    ('L', 3)
    >>> longest_streak("AB")
    ('A', 1)
    """''',
    '''# topic: sorting by a key, players; level: medium; style: an imperative with a condition
def podium(scores: dict[str, int]) -> list[str]:
    """List the names of the three best players, the best first; those with equal scores in alphabetical order.

    >>> podium({"Zoe": 5, "Al": 9, "Ben": 5, "Cy": 1})
    ['Al', 'Ben', 'Zoe']
    >>> podium({"Al": 1})
    ['Al']
    """''',
    '''# topic: clock times, minutes; level: easy; style: two sentences
def add_minutes(clock: str, minutes: int) -> str:
    """A clock shows hours and minutes, such as "09:05". Return what it shows after so many minutes more.

    >>> add_minutes("09:05", 70)
    '10:15'
    >>> add_minutes("23:50", 20)
    '00:10'
    """''',
)
NUM_STATEMENT_SHOTS = len(_SHOTS)
SETTINGS = (
    f"temperatures {STATEMENT_TEMPERATURE:g} {SOLUTION_TEMPERATURE:g} tokens {MAX_STATEMENT_TOKENS} "
    f"{MAX_SOLUTION_TOKENS}"
)
"""Decides answers, as the teacher does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One text that a teacher is asked for; a base model goes on from ``raw``, an assistant from a chat."""

    key: str
    """Names the request: an equal key is asked, and paid for, once."""
    raw: str
    question: str
    """The user's turn."""
    answer_start: str
    """What the assistant's turn begins with."""
    is_chat: bool
    """Whether a model that can do both does better in the chat."""
    stops: tuple[str, ...]
    max_tokens: int
    temperature: float


def statement_request(teacher: str, task: Task, sample: int) -> Request:
    """Return the request for a statement: a signature and a docstring with examples.

    Args:
        teacher: Its identity, with everything that decides its answers.
        task: What the exercise is about.
        sample: Number of the answer to the same prompt.
    """
    shots = [_SHOTS[number] for number in task.shots]
    raw = "\n\n\n".join([_INTRODUCTION, *shots, f"{task.about}\n{task.start}"])
    return Request(
        key=_key(teacher, raw, sample),
        raw=raw,
        question=(
            "Write one more exercise of this kind, about the last topic only: signature and docstring, no body. Answer "
            "with a Python code block.\n\n```python\n" + raw + "\n```"
        ),
        answer_start=f"```python\n{task.start}",
        is_chat=False,
        stops=STATEMENT_STOPS,
        max_tokens=MAX_STATEMENT_TOKENS,
        temperature=STATEMENT_TEMPERATURE,
    )


def solution_request(teacher: str, statement: str, sample: int) -> Request:
    """Return the request for a body of a statement, as ``statement_request``."""
    return Request(
        key=_key(teacher, statement, sample),
        raw=statement,
        question=f"Complete this Python function. Answer with a Python code block.\n\n```python\n{statement}```",
        answer_start=f"```python\n{statement}",
        is_chat=True,
        stops=SOLUTION_STOPS,
        max_tokens=MAX_SOLUTION_TOKENS,
        temperature=SOLUTION_TEMPERATURE,
    )


def _key(teacher: str, prompt: str, sample: int) -> str:
    """Return the key of a request; its settings are part of the teacher's identity."""
    return hashlib.sha256(f"{teacher}\0{prompt}\0{sample}".encode()).hexdigest()[:24]
