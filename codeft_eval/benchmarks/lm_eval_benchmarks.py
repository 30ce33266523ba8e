"""lm-eval's tasks as benchmarks: those that CODEFT_LM_EVAL_TASKS names, with their own prompts, examples and metrics.

An entry is made of a task's name alone. What the name stands for is read when the task is run or its texts are needed,
because that takes lm-eval.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import AnswerCheck, Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.lm_eval_data import COLUMNS, TaskRows

TASKS_VARIABLE = "CODEFT_LM_EVAL_TASKS"
_NAME = re.compile(r"[\w.-]+", re.ASCII)


def lm_eval_benchmarks() -> dict[str, Benchmark]:
    """Return an entry ``lm_eval_NAME`` for each task that the variable names, divided by commas.

    Raises:
        ValueError: a name can be none of a task.
    """
    names = [name.strip() for name in os.environ.get(TASKS_VARIABLE, "").split(",") if name.strip()]
    bad = [name for name in names if not _NAME.fullmatch(name)]
    if bad:
        raise ValueError(
            f"{TASKS_VARIABLE} names {bad[0]!r}: a task's name has letters, digits, '_', '.' and '-'; divide names by "
            "commas"
        )
    return {entry.name: entry for entry in map(_entry, names)}


def _entry(task: str) -> Benchmark:
    return Benchmark(
        name=f"lm_eval_{task}",
        title=f"{task} (lm-eval)",
        kind="text",
        languages=("text",),
        protocol=f"lm-eval's task {task}: its own prompt, examples and metrics, greedy",
        version=1,
        data=DataFile(name=task, columns=COLUMNS, origin=f"lm-eval's task {task}", reader=TaskRows(task)),
        read=_read,
        # lm-eval's metrics decide, at the end of its own run
        answer_check=AnswerCheck(lambda completion: None, lambda given, expected: False),
        stops=(),
        max_new_tokens=256,
        lm_eval_task=task,
    )


def _read(rows: Rows, shots: Rows) -> Iterable[Item]:
    for row in rows:
        yield Item(task_id=row["task_id"], prompt=row["prompt"], solution=row["target"], question=row["prompt"])
