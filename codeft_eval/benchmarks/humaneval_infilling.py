"""HumanEval-Infilling (Bavarian et al., arXiv 2207.14255): write the one line of a function that is missing.

The model gets the text before and after the gap with its own tokens for infilling; one without such tokens is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile


def read_infilling(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items whose completion is a line between ``prompt`` and ``suffix``."""
    for row in rows:
        yield Item(
            task_id=row["task_id"],
            prompt=row["prompt"],
            suffix=row["suffix"],
            solution=row["canonical_solution"],
            entry_point=row["entry_point"],
            test=row["test"],
            source_prefix=row["prompt"],
            source_suffix="\n" + row["suffix"],
            prelude=row["prompt"] + row["canonical_solution"] + row["suffix"],
            question=row["prompt"] + row["suffix"],
        )


_NEEDLESS_LINES = """
20/L0 20/L8 33/L0 46/L6 66/L0 68/L0 81/L16 92/L4 95/L8
95/L18 96/L6 99/L3 105/L6 105/L7 109/L3 111/L7 118/L5 124/L1
124/L6 124/L10 127/L3 127/L5 127/L6 127/L8 129/L1 129/L9 150/L5
"""
"""Problem and line: the tests pass without the line."""
HUMANEVAL_INFILLING = Benchmark(
    name="humaneval_infilling",
    title="HumanEval, single-line infilling",
    kind="code",
    languages=("python",),
    protocol="0-shot, prefix and suffix with the model's own infilling tokens, one line, greedy",
    version=1,
    data=DataFile(
        name="HumanEval-SingleLineInfilling.jsonl",
        columns=("task_id", "prompt", "suffix", "canonical_solution", "entry_point", "test"),
        rows_sha256="b8fd535e01b1634abd3606d4aa83a4a69fbad2f7efe236b62abfa233a423430f",
        num_rows=1033,
        origin="openai/human-eval-infilling@88062ff9 data/HumanEval-SingleLineInfilling.jsonl.gz, unpacked",
    ),
    read=read_infilling,
    stops=("\n",),
    max_new_tokens=128,
    needless_solutions={
        f"SingleLineInfilling/HumanEval/{line}": "the tests pass without the line" for line in _NEEDLESS_LINES.split()
    },
)
