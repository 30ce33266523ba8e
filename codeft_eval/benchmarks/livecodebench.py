"""LiveCodeBench (Jain et al., arXiv 2403.07974): problems of programming contests in a window of dates.

A model may have been trained on a problem that is older than its data, so ``CODEFT_LIVECODEBENCH`` names windows; each
is a benchmark of its own. A program reads standard input, or is a method of ``Solution``.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

from codeft_eval.benchmarks.benchmark import CHAT, Benchmark, ChatTurns, Item, Protocol, Rows
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.scripts import ENTRY_POINT, SAME_OUTPUT, script_as_function

WINDOWS_VARIABLE = "CODEFT_LIVECODEBENCH"
_WINDOW = re.compile(r"(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)?")
_CODE = "```python\n"
_IMPORTS = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
_HEADER = (
    "".join(f"from {name} import *\n" for name in (*_IMPORTS, "builtins", "typing"))
    + "".join(f"import {name}\n" for name in _IMPORTS)
    + "sys.setrecursionlimit(50000)\n"
)
"""Upstream's, before every program."""
_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests. You will NOT return anything except "
    "for the program."
)
_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
_WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows."
)
_NO_CODE = "# YOUR CODE HERE"
_LIMITS = "the limits of the sandbox are for all tests of a problem, where upstream has 6 s for each"


def read_livecodebench(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield the problems, with the date of the contest in their ids.

    Raises:
        ValueError: there is none, or a row has no tests of upstream's form.
    """
    if not rows:
        raise ValueError(f"no problem of LiveCodeBench is in the window; choose another in {WINDOWS_VARIABLE}")
    for row in rows:
        method = json.loads(row["metadata"] or "{}").get("func_name")
        cases = [*_cases(row, "public_test_cases"), *_cases(row, "private_test_cases")]
        yield Item(
            task_id=f"{_date(row)}/{row['question_id']}",
            prompt=_question(row) + _CODE,
            solution="",
            entry_point="Solution" if method else ENTRY_POINT,
            test=_method_test(method, cases) if method else _script_test(cases),
            prelude="",
            question=row["question_content"],
            to_source=_HEADER.__add__ if method else partial(script_as_function, header=_HEADER),
        )


def livecodebench_windows() -> dict[str, Benchmark]:
    """Return an entry for each window that the variable names, as ``2024-08-01..2025-01-31`` or ``2025-02-01..``.

    Raises:
        ValueError: a window is no pair of dates in their order.
    """
    texts = [text.strip() for text in os.environ.get(WINDOWS_VARIABLE, "").split(",") if text.strip()]
    return {entry.name: entry for entry in map(_window_entry, texts)}


def _window_entry(text: str) -> Benchmark:
    found = _WINDOW.fullmatch(text)
    try:
        first, last = (date.fromisoformat(part or "9999-12-31") for part in found.groups()) if found else (None, None)
    except ValueError:
        first, last = None, None
    if first is None or last is None or first > last:
        raise ValueError(
            f"{WINDOWS_VARIABLE} names {text!r}, which is no window; write dates as 2024-08-01..2025-01-31, or "
            "2025-02-01.. without an end, divided by commas"
        )
    end = "" if last == date.max else f"_{last:%Y%m%d}"
    words = f"from {first} on" if last == date.max else f"{first} to {last}"
    return replace(
        LIVECODEBENCH,
        name=f"livecodebench_{first:%Y%m%d}{end}",
        title=f"LiveCodeBench, contests {words}",
        protocol=f"{LIVECODEBENCH.protocol}; contests {words}",
        select=lambda row: first <= date.fromisoformat(_date(row)) <= last,
    )


def _date(row: Mapping[str, Any]) -> str:
    return row["contest_date"][:10]


def _question(row: Mapping[str, Any]) -> str:
    """Return upstream's generic prompt."""
    words, code = (_WITH_STARTER, row["starter_code"]) if row["starter_code"] else (_WITHOUT_STARTER, _NO_CODE)
    return (
        f"### Question:\n{row['question_content']}\n\n### Format: {words}\n{_CODE}{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )


def _ask(prompt: str) -> str:
    return f"{_SYSTEM}\n\n{prompt.removesuffix(_CODE)}"


def _cases(row: Mapping[str, Any], column: str) -> list[tuple[str, str]]:
    """Return the inputs and outputs of a column: JSON, or the compressed JSON of upstream's private tests."""
    try:
        cases = _parse_cases(row[column])
        return [(case["input"], case["output"]) for case in cases]
    except (ValueError, KeyError, TypeError, EOFError, zlib.error, pickle.UnpicklingError) as error:
        raise ValueError(
            f"problem {row['question_id']!r} of LiveCodeBench: {column} has no tests ({error!r}); fetch the file again"
        ) from error


def _parse_cases(text: str) -> list[dict[str, Any]]:
    if text.lstrip().startswith("["):
        return json.loads(text)
    return json.loads(_TextUnpickler(io.BytesIO(zlib.decompress(base64.b64decode(text)))).load())


class _TextUnpickler(pickle.Unpickler):
    """Reads a pickled text; upstream packs its tests so, and a pickle of anything else may run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no text")


def _script_test(cases: list[tuple[str, str]]) -> str:
    return (
        f"{SAME_OUTPUT}\n\nCASES = {cases!r}\n\n\ndef check(candidate):\n    assert CASES\n"
        "    for text, expected in CASES:\n        assert is_same_output(candidate(text), expected), text[:200]\n"
    )


def _method_test(method: str, cases: list[tuple[str, str]]) -> str:
    """Return a test that calls a method; a tuple is as good as a list, as upstream has it."""
    values = [([json.loads(line) for line in text.split("\n")], json.loads(output)) for text, output in cases]
    return (
        f"CASES = {values!r}\n\n\ndef check(candidate):\n    assert CASES\n    solution = candidate()\n"
        "    for arguments, expected in CASES:\n"
        f"        found = solution.{method}(*arguments)\n"
        "        found = list(found) if isinstance(found, tuple) else found\n"
        "        assert found == expected, arguments\n"
    )


LIVECODEBENCH = Benchmark(
    name="livecodebench",
    title="LiveCodeBench",
    kind="code",
    languages=("python",),
    protocol=f"0-shot, upstream's generic prompt and the begin of a Python code block, greedy; {_LIMITS}",
    version=1,
    data=DataFile(
        name="livecodebench.jsonl",
        columns=(
            *("question_id", "question_content", "contest_date", "starter_code"),
            *("public_test_cases", "private_test_cases", "metadata"),
        ),
        origin="the Hub's livecodebench/code_generation_lite, its test*.jsonl in one file",
        is_unpinned=True,
    ),
    read=read_livecodebench,
    stops=("\n```",),
    max_new_tokens=2000,
    chat=Protocol(
        name=CHAT,
        words="0-shot chat in the model's own template, upstream's system text and generic prompt in the user's turn, "
        f"the answer begun with a Python code block, greedy; {_LIMITS}",
        stops=("\n```",),
        max_new_tokens=2000,
        chat=ChatTurns(question=_ask, answer_start=_CODE),
    ),
)
