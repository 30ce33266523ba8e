r"""MATH (Hendrycks et al., arXiv 2103.03874): competition problems whose answer is in a ``\boxed{}``."""

from __future__ import annotations

from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import AnswerCheck, Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, read_rows
from codeft_eval.benchmarks.math_answers import boxed_answer, stated_answer
from codeft_eval.benchmarks.math_equality import is_same_answer


def read_math(rows: Rows, shots: Rows) -> Iterable[Item]:
    r"""Yield items of MATH's format; the answer is in the solution's last ``\boxed{}``."""
    examples = "".join(f"Problem:\n{row['problem']}\n\nSolution:\n{row['solution']}\n\n" for row in shots)
    for row in rows:
        yield Item(
            task_id=f"MATH/{row['idx']}",
            prompt=f"{examples}Problem:\n{row['problem']}\n\nSolution:",
            solution="\n" + row["solution"],
            answer=boxed_answer(row["solution"]) or "",
            question=row["problem"],
        )


_FILE = DataFile(
    name="math_test.jsonl",
    columns=("problem", "solution", "idx"),
    rows_sha256="cabcb839dec4909239a006b04a940e39c00130319a54d527e27b23030b2a954c",
    num_rows=5000,
    origin="microsoft/ToRA@213c1c99, the MATH test set",
)
MATH = Benchmark(
    name="math",
    title="MATH (every tenth problem)",
    kind="math",
    languages=("text",),
    protocol="4-shot, the first four short unscored test rows, greedy, boxed answer",
    version=3,
    data=_FILE,
    read=read_math,
    answer_check=AnswerCheck(stated_answer, is_same_answer),
    stops=("\nProblem:",),
    max_new_tokens=512,
    select=lambda row: row["idx"] % 10 == 0,
    shots=lambda: [row for row in read_rows(_FILE) if row["idx"] % 10 and len(row["solution"]) < 300][:4],
    published=PublishedFigure(
        benchmark="MATH",
        protocol="4-shot, all 5,000 problems",
        difference="Qwen's examples and answer extraction are others; ours are 500 of the 5,000 problems",
    ),
)
