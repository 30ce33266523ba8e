"""The olympiad problems that no model is trained on (``held_out_problems``), as a benchmark."""

from __future__ import annotations

from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import AnswerCheck, Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.math_answers import closing_answer
from codeft_eval.benchmarks.math_equality import is_same_answer


def read_competition_math(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield the problems; the likelihood is that of the solution, or of the problem itself where there is none."""
    for row in rows:
        is_solved = bool(row["solution"].strip())
        yield Item(
            task_id=row["task_id"],
            prompt=f"Problem. {row['problem'].strip()}\n\nSolution." if is_solved else "Problem.",
            solution=f" {(row['solution'] if is_solved else row['problem']).strip()}\n",
            answer=row["answer"],
            question=row["problem"],
        )


COMPETITION_MATH = Benchmark(
    name="competition_math",
    title="Competition math (held out of comp-math)",
    kind="math",
    languages=("text",),
    protocol="0-shot, greedy; the answer where the problem asks for a value and its solution boxes, states or ends "
    "on one; bits per byte of the solution, or of a problem without one",
    version=3,
    data=DataFile(
        name="competition_math.jsonl",
        columns=("task_id", "problem", "solution", "answer"),
        origin="built by `python -m codeft_eval hold-out` from documents/comp-math",
        is_built=True,
    ),
    read=read_competition_math,
    answer_check=AnswerCheck(closing_answer, is_same_answer),
    stops=("\nProblem.",),
    max_new_tokens=512,
)
