"""MBPP and MBPP+ with the tests of EvalPlus' MbppPlus v0.1.0 (399 tasks), those of Qwen2.5-Coder's published figures.

The Hub's ``mbppplus`` is a later version with 378 tasks. The file holds inputs as JSON; answers are the canonical
solution's. Which inputs are tuples, sets or complex numbers, and the tasks with a comparison of their own, are listed
in EvalPlus' ``mbpp_deserialize_inputs`` and ``_special_oracle``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.evalplus_tests import NUMPY
from codeft_eval.benchmarks.mbpp import DOCSTRING_PROTOCOL, DOCSTRING_STOPS
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT

_CONVERSIONS = {
    "lambda a: [tuple(x) for x in a]": (
        "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809"
    ),
    "lambda a: [[tuple(y) for y in x] for x in a]": "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780",
    "lambda a: [[tuple(x) for x in a[0]], a[1]]": "75 413 444 753",
    "lambda a: [a[0], tuple(a[1])]": "106 750",
    "lambda a: [[set(x) if isinstance(x, list) and x else {} for x in a[0]]]": "115",
    "lambda a: [float(a[0]), complex(a[1])]": "124",
    "lambda a: [tuple(a[0]), *a[1:]]": "250 307 405 446 617 720 763 808",
    "lambda a: [tuple(tuple(y) for y in x) for x in a]": "259 401 445",
    "lambda a: [tuple(tuple(y) if isinstance(y, list) else y for y in x) for x in a]": "278",
    "lambda a: [{key: tuple(value) for key, value in a[0].items()}, *a[1:]]": "722",
    "lambda a: [complex(a[0])]": "252",
    "_tuples": "580 615 791",
}
"""From the arguments in the file to those of the call -> its tasks."""
_CONVERSION_OF = {task: conversion for conversion, tasks in _CONVERSIONS.items() for task in tasks.split()}
_COMPARISONS = {
    "lambda given, expected, a: True": "are_equivalent",
    "lambda given, expected, a: given == expected or given == 0": "sum_div",
    "lambda given, expected, a: given == expected or abs(given - _surface(*a)) <= _ATOL": "surface_Area",
    "lambda given, expected, a: given == expected or given == _distance(*a)": "digit_distance_nums",
    "lambda given, expected, a: _is_found(given) == _is_found(expected)": "check_str text_match_three text_starta_endb",
}
_COMPARISON_OF = {name: comparison for comparison, names in _COMPARISONS.items() for name in names.split()}
_TEST = """
import copy, json
def _tuples(x):
    return tuple(map(_tuples, x)) if isinstance(x, list) else x
def _surface(base, height):
    return round(base ** 2 + 4 * (base * ((base / 2) ** 2 + height ** 2) ** 0.5) / 2)
def _distance(a, b):
    width = max(len(str(a)), len(str(b)))
    return sum(abs(int(x) - int(y)) for x, y in zip(str(a).zfill(width), str(b).zfill(width)))
def _is_found(x):
    return x if isinstance(x, bool) else x is not None
def _is_floats(x):
    return isinstance(x, float) or (isinstance(x, (list, tuple)) and bool(x) and all(isinstance(i, float) for i in x))
_reference = {}
exec(_SOURCE, _reference)
_reference = _reference[_ENTRY_POINT]
def _check(candidate):
    atol, inputs = _ATOL, [_CONVERT(arguments) for arguments in json.loads(_INPUTS)]
    candidate = call_batched(candidate, inputs)
    for arguments in inputs:
        given, expected = candidate(*arguments), _reference(*copy.deepcopy(arguments))
        atol = 1e-6 if atol == 0 and _is_floats(expected) else atol
        if _SAME(given, expected, arguments) or atol == 0:
            assert _SAME(given, expected, arguments), arguments
            continue
        assert type(given) is type(expected) and np.allclose(given, expected, rtol=1e-07, atol=atol), arguments
"""


def reader(*columns: str) -> Callable[[Rows, Rows], Iterable[Item]]:
    """Return the reader of items whose tests are the inputs of these columns."""

    def read(rows: Rows, shots: Rows) -> Iterable[Item]:
        for row in rows:
            yield Item(
                task_id=row["task_id"],
                prompt=row["prompt"],
                solution=row["canonical_solution"].strip("\n") + "\n",
                entry_point=row["entry_point"],
                test=_test(row, [arguments for column in columns for arguments in row[column]]),
                source_prefix=row["prompt"],
                question=row["prompt"],
            )

    return read


def _test(row: Mapping[str, Any], inputs: list[Any]) -> str:
    name, task = row["entry_point"], row["task_id"].partition("/")[2]
    given = {
        "_SOURCE": repr(row["prompt"] + row["canonical_solution"]),
        "_ENTRY_POINT": repr(name),
        "_INPUTS": repr(json.dumps(inputs)),
        "_ATOL": repr(row["atol"]),
        "_CONVERT": _CONVERSION_OF.get(task, "list").replace("_tuples", "lambda a: _tuples(a)"),
        "_SAME": _COMPARISON_OF.get(name, "lambda given, expected, a: given == expected"),
    }
    lines = "".join(f"{key} = {value}\n" for key, value in given.items())
    return f"{lines}{NUMPY}{_TEST}_check({name})\n"


_BEYOND_LIMITS = {
    "Mbpp/255": "77 of 5 colors are 1,663,740 tuples, more than may cross from the program to its tests",
    "Mbpp/599": "adds up 100,000,000 numbers for each of 16 inputs, in 15 s of CPU or more; the limit is 8 s",
}
"""EvalPlus' limits are multiples of the time that these solutions took."""


def _entry(
    name: str, title: str, columns: tuple[str, ...], published: str, failing: Mapping[str, str] | None = None
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        kind="code",
        languages=("python",),
        protocol=DOCSTRING_PROTOCOL,
        version=1,
        data=DataFile(
            name="MbppPlus-v0.1.0.jsonl",
            columns=("task_id", "prompt", "entry_point", "canonical_solution", "atol", "base_input", "plus_input"),
            rows_sha256="163e10559a4963a498797c845048b59c2bdb63b761c34803d74e11f71f6720f1",
            num_rows=399,
            origin="QwenLM/Qwen2.5-Coder@d5ead97f qwencoder-eval/base/eval_cache/evalplus/MbppPlus-v0.1.0.jsonl",
        ),
        read=reader(*columns),
        stops=DOCSTRING_STOPS,
        max_new_tokens=768,
        chat=PYTHON_CHAT,
        failing_solutions=failing or {},
        published=PublishedFigure(
            benchmark=published,
            protocol="0-shot, greedy, MbppPlus v0.1.0",
            difference="Qwen's harness: vLLM in bfloat16; the tests are the same",
        ),
    )


MBPP_V010 = _entry("mbpp_v010", "MBPP (EvalPlus v0.1.0, 399 tasks)", ("base_input",), "MBPP (EvalPlus 399)")
MBPP_PLUS_V010 = _entry(
    "mbpp_plus_v010",
    "MBPP+ (EvalPlus v0.1.0, 399 tasks)",
    ("base_input", "plus_input"),
    "MBPP+ (EvalPlus 399)",
    _BEYOND_LIMITS,
)
