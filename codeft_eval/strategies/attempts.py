"""Attempts at a problem, the answer made of them, and the model and sandbox that a strategy may use.

A strategy gets problems without their tests, solutions and answers (``without_tests``), so it cannot choose by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.sandbox.programs import Grade, Program


@dataclass(frozen=True, slots=True)
class Attempt:
    """A completion with its cost."""

    text: str
    num_tokens: int
    """Processed for it by the model: its prompt, each time that it was read, and the tokens written."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An item without its tests, and the attempts at it, in the order in which they were drawn."""

    item: Item
    attempts: tuple[Attempt, ...]

    @property
    def prompt(self) -> str:
        """The text of the program before the completion; solved examples of other problems are no part of it."""
        return self.item.source_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The completion that a strategy gives."""

    text: str
    num_tokens: int
    """Processed for it by the model, over all attempts and comparisons."""
    fallback: str = ""
    """Why the strategy could not choose, so that the first attempt is the answer; empty where it chose."""
    rounds: tuple[str, ...] = ()
    """The answers after each round, where there are rounds; the last is ``text``."""


class Writer(Protocol):
    """A model that goes on from texts."""

    def complete(self, items: Sequence[Item]) -> list[Attempt]:
        """Return the greedy completion of each item's prompt, as the benchmark ends completions."""
        ...

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the log-likelihood of each continuation, given as (text, continuation)."""
        ...

    def num_tokens(self, text: str) -> int:
        """Return the tokens of a text."""
        ...


RunPrograms = Callable[[Sequence[Program]], list[Grade]]
"""Runs programs isolated, and returns their grades in order."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """All that a strategy may use besides the attempts."""

    run: RunPrograms
    writer: Writer | None = None
    """None where attempts are stored and no model is here."""


def run_once(run: RunPrograms) -> RunPrograms:
    """Return ``run`` with a memory: strategies that run the same programs with the same tests share the grades."""
    known: dict[Program, Grade] = {}

    def run_new(programs: Sequence[Program]) -> list[Grade]:
        new = [program for program in dict.fromkeys(programs) if program not in known]
        known.update(zip(new, run(new), strict=True))
        return [known[program] for program in programs]

    return run_new


def without_tests(item: Item) -> Item:
    """Return an item as a strategy sees it."""
    return replace(item, test="", solution="", answer="")


def within_budget(attempts: Sequence[Attempt], num_tokens: int) -> tuple[Attempt, ...]:
    """Return the first attempts that cost at most ``num_tokens`` together, and at least one."""
    spent, kept = 0, list[Attempt]()
    for attempt in attempts:
        spent += attempt.num_tokens
        if kept and spent > num_tokens:
            break
        kept.append(attempt)
    return tuple(kept)


def total_tokens(attempts: Sequence[Attempt]) -> int:
    """Return the cost of attempts."""
    return sum(attempt.num_tokens for attempt in attempts)


def run_attempts(problems: Sequence[Problem], tests: Sequence[str], run: RunPrograms) -> list[list[Grade]]:
    """Return each problem's grades by its own test code, one an attempt; none where the test is empty.

    Equal attempts run once.
    """
    programs: dict[tuple[int, str], Program] = {}
    for number, (problem, test) in enumerate(zip(problems, tests, strict=True)):
        for attempt in problem.attempts if test else ():
            program = problem.item.to_program(attempt.text)
            programs[number, attempt.text] = replace(program, test=test)
    grades = dict(zip(programs, run(list(programs.values())), strict=True))
    return [
        [grades[number, attempt.text] for attempt in problem.attempts] if test else []
        for number, (problem, test) in enumerate(zip(problems, tests, strict=True))
    ]
