"""The strategy ``rank``: the model itself compares attempts pair by pair, and a Borda count orders them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

from codeft_eval.strategies.attempts import Answer, Attempt, Problem, Workbench, Writer, total_tokens
from codeft_eval.strategies.borda import borda_order

MAX_RANKED = 6
"""Different attempts that are compared, the first ones: the cost grows with the square."""
ALL_EQUAL = "all attempts are the same text"
_FIRST, _SECOND = " A", " B"


def rank(problems: Sequence[Problem], workbench: Workbench) -> list[Answer]:
    """Answer with the first by the enhanced Borda count over the model's pairwise preferences (arXiv 2410.02884).

    Each pair is asked in both orders, for a model prefers a place, too.

    Raises:
        ValueError: there is no model to compare attempts.
    """
    if workbench.writer is None:
        raise ValueError("strategy 'rank' compares attempts by likelihood: give the checkpoint that made them")
    ranked = [_distinct(problem.attempts) for problem in problems]
    questions = [
        [_question(problem, *pair) for pair in permutations(attempts, 2)]
        for problem, attempts in zip(problems, ranked, strict=True)
    ]
    pairs = [(text, answer) for texts in questions for text in texts for answer in (_FIRST, _SECOND)]
    found = iter(workbench.writer.log_likelihoods(pairs) if pairs else [])
    answers = []
    for problem, attempts, texts in zip(problems, ranked, questions, strict=True):
        likelihoods = [(next(found), next(found)) for _ in texts]
        best = attempts[borda_order(preferences(len(attempts), likelihoods))[0]]
        cost = total_tokens(problem.attempts) + _cost(texts, workbench.writer)
        answers.append(Answer(text=best.text, num_tokens=cost, fallback="" if len(attempts) > 1 else ALL_EQUAL))
    return answers


def preferences(num_attempts: int, likelihoods: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Return the matrix of preferences of log-likelihoods (of the first, of the second) over all ordered pairs."""
    matrix = [[0.5] * num_attempts for _ in range(num_attempts)]
    chances = [_chance(*pair) for pair in likelihoods]
    first = dict(zip(permutations(range(num_attempts), 2), chances, strict=True))
    for (left, right), chance in first.items():
        matrix[left][right] = (chance + 1 - first[right, left]) / 2
    return matrix


def _chance(first: float, second: float) -> float:
    """Return the probability of the first of two answers; one half where the model could not read the question."""
    if math.isnan(first) or math.isnan(second):
        return 0.5
    return 1 / (1 + math.exp(min(700.0, second - first)))


def _distinct(attempts: Sequence[Attempt]) -> list[Attempt]:
    found: dict[str, Attempt] = {}
    for attempt in attempts:
        found.setdefault(attempt.text.strip(), attempt)
    return list(found.values())[:MAX_RANKED]


def _question(problem: Problem, first: Attempt, second: Attempt) -> str:
    programs = (f"{problem.prompt}{attempt.text.rstrip()}\n" for attempt in (first, second))
    parts = (f"# Solution {name}:\n{program}" for name, program in zip("AB", programs, strict=True))
    return "\n\n".join(parts) + "\n\n# One of the two solutions is right. The right solution is solution"


def _cost(questions: Sequence[str], writer: Writer) -> int:
    """Return the tokens of the questions, each read once: both answers are one token after the same text."""
    return sum(writer.num_tokens(text) + 1 for text in questions)
