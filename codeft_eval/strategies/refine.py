"""The strategy ``refine``: a second attempt that reads the first with the error that the prompt's examples give.

Reflection without execution is not built: at this size it gains nothing (Self-Contrast, arXiv 2401.02009). Only what
the prompt's own examples say is shown to the model; an attempt that passes them, or a prompt without any, ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.sandbox.programs import Grade
from codeft_eval.strategies.attempts import Answer, Attempt, Problem, Workbench, total_tokens
from codeft_eval.strategies.choices import NO_EXAMPLES, NONE_PASSES, grade_examples
from codeft_eval.strategies.examples import failing_example, find_examples

NUM_ROUNDS = 2


def refine(problems: Sequence[Problem], workbench: Workbench) -> list[Answer]:
    """Answer with the first of the attempts, one a round after the first, that passes the prompt's examples.

    Raises:
        ValueError: there is no model to write the later attempts.
    """
    if workbench.writer is None:
        raise ValueError("strategy 'refine' writes attempts: give the checkpoint that made the first ones")
    current = [replace(problem, attempts=problem.attempts[:1]) for problem in problems]
    graded = [list(grades) for grades in grade_examples(current, workbench)]
    rounds = [[_best(problem, grades)] for problem, grades in zip(current, graded, strict=True)]
    for number in range(1, NUM_ROUNDS + 1):
        failing = [index for index, grades in enumerate(graded) if grades and grades[-1].verdict != "passed"]
        asked = [_second_item(current[index], graded[index][-1], number) for index in failing]
        written = workbench.writer.complete(asked) if asked else []
        newest = [replace(current[i], attempts=(attempt,)) for i, attempt in zip(failing, written, strict=True)]
        for index, problem, grades in zip(failing, newest, grade_examples(newest, workbench), strict=True):
            current[index] = replace(problem, attempts=current[index].attempts + problem.attempts)
            graded[index] += grades
        for index, texts in enumerate(rounds):
            texts.append(_best(current[index], graded[index]))
    return [_answer(*parts) for parts in zip(current, graded, rounds, strict=True)]


def _best(problem: Problem, grades: Sequence[Grade]) -> str:
    """Return the first attempt that passes, or else the first."""
    passing = (attempt for attempt, grade in zip(problem.attempts, grades, strict=False) if grade.verdict == "passed")
    return next(passing, problem.attempts[0]).text


def _second_item(problem: Problem, grade: Grade, number: int) -> Item:
    """Return an item that asks for another attempt, after the last one and its error."""
    last: Attempt = problem.attempts[-1]
    words = "\n".join(f"# {line}" for line in describe_failure(problem, grade).split("\n"))
    prompt = f"{problem.prompt}{last.text.rstrip()}\n\n\n# The function above is wrong:\n{words}\n# Corrected:\n\n"
    return replace(
        problem.item, task_id=f"{problem.item.task_id}, attempt {number + 1}", prompt=prompt + problem.prompt
    )


def describe_failure(problem: Problem, grade: Grade) -> str:
    """Return a failure in words: the example that does not hold, or the last line of the program's traceback."""
    if grade.reason == "wrong_answer":
        return failing_example(find_examples(problem.prompt, problem.item.entry_point), grade.detail)
    lines = [line for line in grade.stderr.strip().split("\n") if line.strip()]
    return (lines[-1] if lines else grade.detail or grade.reason)[:300]


def _answer(problem: Problem, grades: Sequence[Grade], rounds: Sequence[str]) -> Answer:
    has_passed = any(grade.verdict == "passed" for grade in grades)
    return Answer(
        text=rounds[-1],
        num_tokens=total_tokens(problem.attempts),
        fallback="" if has_passed else NONE_PASSES if grades else NO_EXAMPLES,
        rounds=tuple(rounds),
    )
