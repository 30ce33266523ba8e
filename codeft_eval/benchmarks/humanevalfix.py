"""HumanEvalFix of HumanEvalPack (Muennighoff et al., arXiv 2308.07124): repair a function with a bug, given its tests.

A completion is the body of the repaired function. As upstream does it, the program begins with common imports.
"""

from __future__ import annotations

from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile

_IMPORTS = """\
import math
import re
import sys
import copy
import datetime
import itertools
import collections
import heapq
import statistics
import functools
import hashlib
import string
from typing import *
from collections import *
"""
"""Upstream's, without numpy."""
# Upstream's, and the line that begins the next function or statement, where upstream cuts after generation.
_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert")


def read_humanevalfix(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items that show the function with its bug and the tests that it fails."""
    for row in rows:
        declaration = row["declaration"]
        context = f"{declaration}{row['buggy_solution']}\n{row['test']}"
        yield Item(
            task_id=row["task_id"],
            prompt=f"{context}\nFix bugs in {row['entry_point']}.\n\n{declaration}".strip(),
            solution="\n" + row["canonical_solution"],
            entry_point=row["entry_point"],
            test=row["test"],
            source_prefix=_IMPORTS + declaration.rstrip(),
            prelude=_IMPORTS + declaration + row["canonical_solution"],
            question=row["prompt"],
        )


HUMANEVALFIX = Benchmark(
    name="humanevalfix",
    title="HumanEvalFix (Python)",
    kind="code",
    languages=("python",),
    protocol="0-shot, function with bug and tests, then the instruction to fix it, greedy",
    version=1,
    data=DataFile(
        name="humanevalpack.jsonl",
        columns=(
            "task_id",
            "prompt",
            "declaration",
            "buggy_solution",
            "canonical_solution",
            "entry_point",
            "test",
        ),
        rows_sha256="fca60344942a1f97136508c01a1bc8a769f41c678b171cd0b7e201f92c41a80c",
        num_rows=164,
        origin="bigcode-project/octopack@e17a8f64 evaluation/create/humaneval-x/data/python/data/humanevalpack.jsonl",
    ),
    read=read_humanevalfix,
    stops=_STOPS,
    max_new_tokens=768,
)
