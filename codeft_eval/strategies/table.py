"""STRATEGIES, the one place to add a strategy: how it chooses, what it costs, and what it must be compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from codeft_eval.strategies.attempts import Answer, Problem, Workbench, within_budget
from codeft_eval.strategies.choices import by_agreement, by_examples, by_examples_and_agreement, first_attempt
from codeft_eval.strategies.rank import rank
from codeft_eval.strategies.refine import NUM_ROUNDS, refine

Choose = Callable[[Sequence[Problem], Workbench], list[Answer]]
ANY_ATTEMPT, RESAMPLING = "any attempt", "examples"
"""Controls: the mean over the same attempts, which nobody chose among; or ``examples`` over as many attempts as the
tokens of the strategy pay for."""
GREEDY = "greedy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One strategy."""

    words: str
    """Part of a score's protocol."""
    choose: Choose
    control: str
    """At equal tokens; empty for the one that chooses nothing."""
    draws_samples: bool = True
    """Whether it chooses among several attempts, or needs the first only."""
    needs_model: bool = False
    """Besides the attempts, which may be stored."""


STRATEGIES: dict[str, Strategy] = {
    GREEDY: Strategy(words="the first attempt", choose=first_attempt, control="", draws_samples=False),
    "examples": Strategy(
        words="the first attempt that passes the prompt's own examples, else the first",
        choose=by_examples,
        control=ANY_ATTEMPT,
    ),
    "agree": Strategy(
        words="an attempt of the largest class that returns the same values on inputs like the prompt's",
        choose=by_agreement,
        control=ANY_ATTEMPT,
    ),
    "examples-agree": Strategy(
        words="agreement among the attempts that pass the prompt's own examples",
        choose=by_examples_and_agreement,
        control=ANY_ATTEMPT,
    ),
    "refine": Strategy(
        words=f"the first attempt, then up to {NUM_ROUNDS} more that read the last one with its error on the examples",
        choose=refine,
        control=RESAMPLING,
        draws_samples=False,
        needs_model=True,
    ),
    "rank": Strategy(
        words="the attempt with the best Borda count of the model's own pairwise likelihoods",
        choose=rank,
        control=RESAMPLING,
        needs_model=True,
    ),
}


def find_strategy(name: str) -> Strategy:
    """Return the strategy called ``name``.

    Raises:
        ValueError: there is none.
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy {name!r} is not one of {sorted(STRATEGIES)}")
    return STRATEGIES[name]


def resample(problems: Sequence[Problem], answers: Sequence[Answer], workbench: Workbench) -> list[Answer]:
    """Return the control of answers that cost more than attempts: ``examples`` within each answer's own tokens."""
    paid = [
        replace(problem, attempts=within_budget(problem.attempts, answer.num_tokens))
        for problem, answer in zip(problems, answers, strict=True)
    ]
    return by_examples(paid, workbench)
