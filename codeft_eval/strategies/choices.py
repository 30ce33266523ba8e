"""Strategies that choose among attempts by running them, without any more tokens of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from codeft_eval.sandbox.programs import Grade
from codeft_eval.strategies.attempts import Answer, Attempt, Problem, Workbench, run_attempts, total_tokens
from codeft_eval.strategies.examples import examples_test, find_examples
from codeft_eval.strategies.inputs import find_inputs
from codeft_eval.strategies.signatures import read_signature, signature_test

NO_EXAMPLES = "the prompt has no examples"
NONE_PASSES = "no attempt passes the prompt's examples"
NO_INPUTS = "nothing in the prompt shows an input"
NONE_RETURNS = "no attempt returns a value"


def first_attempt(problems: Sequence[Problem], workbench: Workbench) -> list[Answer]:
    """Answer each problem with its first attempt, which alone is paid for."""
    del workbench
    return [_answer(replace(problem, attempts=problem.attempts[:1])) for problem in problems]


def by_examples(problems: Sequence[Problem], workbench: Workbench) -> list[Answer]:
    """Answer with the first attempt that passes all of the prompt's own examples (AlphaCode, arXiv 2203.07814)."""
    answers = []
    for problem, grades in zip(problems, grade_examples(problems, workbench), strict=True):
        passing = _passing(problem, grades)
        reason = "" if passing else NONE_PASSES if grades else NO_EXAMPLES
        answers.append(_answer(problem, passing[0] if passing else None, reason))
    return answers


def by_agreement(problems: Sequence[Problem], workbench: Workbench) -> list[Answer]:
    """Answer with the first attempt of the largest class that returns the same values (arXiv 2204.11454).

    An attempt that returns nothing for any input has no vote; of classes equally large that of the earliest attempt
    wins.
    """
    examples = [find_examples(problem.prompt, problem.item.entry_point) for problem in problems]
    inputs = [
        find_inputs(problem.prompt, problem.item.entry_point, found)
        for problem, found in zip(problems, examples, strict=True)
    ]
    tests = [signature_test(found) if found else "" for found in inputs]
    answers = []
    for problem, grades in zip(problems, run_attempts(problems, tests, workbench.run), strict=True):
        votes = [read_signature(grade) for grade in grades]
        counts = Counter(filter(None, votes))
        if not counts:
            answers.append(_answer(problem, reason=NONE_RETURNS if grades else NO_INPUTS))
            continue
        most = max(counts.values())
        winner = next(number for number, vote in enumerate(votes) if vote and counts[vote] == most)
        answers.append(_answer(problem, problem.attempts[winner]))
    return answers


def by_examples_and_agreement(problems: Sequence[Problem], workbench: Workbench) -> list[Answer]:
    """Answer by agreement among the attempts that pass the prompt's examples, or among all where none does.

    CodeT (arXiv 2207.10397) sorts classes by size and by tests passed; here the prompt's own examples are the tests.
    """
    graded = grade_examples(problems, workbench)
    narrowed = [
        replace(problem, attempts=tuple(_passing(problem, grades)) or problem.attempts)
        for problem, grades in zip(problems, graded, strict=True)
    ]
    return [
        replace(answer, num_tokens=total_tokens(problem.attempts))
        for problem, answer in zip(problems, by_agreement(narrowed, workbench), strict=True)
    ]


def grade_examples(problems: Sequence[Problem], workbench: Workbench) -> list[list[Grade]]:
    """Return the grades of each problem's attempts by the prompt's own examples; none where it has no examples."""
    found = [find_examples(problem.prompt, problem.item.entry_point) for problem in problems]
    return run_attempts(problems, [examples_test(part) if part else "" for part in found], workbench.run)


def _passing(problem: Problem, grades: Sequence[Grade]) -> list[Attempt]:
    if not grades:
        return []
    return [attempt for attempt, grade in zip(problem.attempts, grades, strict=True) if grade.verdict == "passed"]


def _answer(problem: Problem, chosen: Attempt | None = None, reason: str = "") -> Answer:
    attempt = chosen or problem.attempts[0]
    return Answer(text=attempt.text, num_tokens=total_tokens(problem.attempts), fallback=reason)
