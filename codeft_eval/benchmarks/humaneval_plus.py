"""HumanEval+ (EvalPlus, arXiv 2305.01210): HumanEval with many more inputs, in the Hub's form and in EvalPlus' own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, HubFiles
from codeft_eval.benchmarks.evalplus_tests import NUMPY, in_few_messages
from codeft_eval.benchmarks.humaneval import COLUMNS, PROTOCOL, STOPS, humaneval_item
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT

_INPUT_COLUMNS = ("task_id", "prompt", "canonical_solution", "entry_point", "base_input", "plus_input", "atol")
_QWEN_HARNESS = "Qwen's harness: vLLM in bfloat16 and EvalPlus v0.1.9"
_TEST = """
import copy, json
def _is_floats(x):
    return isinstance(x, float) or (isinstance(x, (list, tuple)) and bool(x) and all(isinstance(i, float) for i in x))
_reference = {}
exec(_SOURCE, _reference)
_reference = _reference[_ENTRY_POINT]
def check(candidate):
    inputs = json.loads(_INPUTS)
    candidate = call_batched(candidate, inputs)
    for arguments in inputs:
        given = candidate(*arguments)
        if _ENTRY_POINT == "find_zero":
            assert abs(_value(arguments[0], given)) <= _ATOL, arguments
            continue
        expected = _reference(*copy.deepcopy(arguments))
        atol = 1e-6 if _ATOL == 0 and _is_floats(expected) else _ATOL
        if given == expected or atol == 0:
            assert given == expected, arguments
            continue
        assert type(given) is type(expected) and np.allclose(given, expected, rtol=1e-07, atol=atol), arguments
def _value(coefficients, x):
    return sum(c * x ** i for i, c in enumerate(coefficients))
"""


def read_humaneval_plus(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of the Hub's form: a check function with inputs and results."""
    for row in rows:
        yield humaneval_item(row, in_few_messages(row["test"], "candidate"))


def read_humaneval_plus_mini(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of EvalPlus' own form: inputs, and the canonical solution to answer them."""
    for row in rows:
        yield humaneval_item(row, _reference_test(row))


def _reference_test(row: Mapping[str, Any]) -> str:
    given = {
        "_SOURCE": row["prompt"] + row["canonical_solution"],
        "_ENTRY_POINT": row["entry_point"],
        "_INPUTS": json.dumps(row["base_input"] + row["plus_input"]),
        "_ATOL": row["atol"],
    }
    return "".join(f"{name} = {value!r}\n" for name, value in given.items()) + NUMPY + _TEST


HUMANEVAL_PLUS = Benchmark(
    name="humaneval_plus",
    title="HumanEval+",
    kind="code",
    languages=("python",),
    protocol=PROTOCOL,
    version=1,
    data=DataFile(
        name="humanevalplus.jsonl",
        columns=COLUMNS,
        file_sha256="908377f1daf28dcb36846db73a5662b2e05a9907407c2696c89ad9d3b0b04492",
        num_rows=164,
        origin="the Hub's evalplus/humanevalplus test.jsonl",
        hub=HubFiles(
            repo="evalplus/humanevalplus",
            revision="d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
            paths=("test.jsonl",),
        ),
    ),
    read=read_humaneval_plus,
    stops=STOPS,
    max_new_tokens=768,
    chat=PYTHON_CHAT,
    published=PublishedFigure(benchmark="HumanEval+", protocol="0-shot, greedy", difference=_QWEN_HARNESS),
)
HUMANEVAL_PLUS_MINI = Benchmark(
    name="humaneval_plus_mini",
    title="HumanEval+ (mini)",
    kind="code",
    languages=("python",),
    protocol=f"{PROTOCOL}; EvalPlus' reduced inputs",
    version=1,
    data=DataFile(
        name="HumanEvalPlus-Mini.jsonl",
        columns=_INPUT_COLUMNS,
        rows_sha256="d387058f5f97b6fd76ea433d5b2b3b4c2ba4b3b83ddaea0d4bfb2b49069a2da4",
        num_rows=164,
        origin="evalplus/humanevalplus_release@200defce HumanEvalPlus-Mini.jsonl.gz, unpacked",
    ),
    read=read_humaneval_plus_mini,
    stops=STOPS,
    max_new_tokens=768,
    chat=PYTHON_CHAT,
    published=PublishedFigure(
        benchmark="HumanEval+",
        protocol="0-shot, greedy",
        difference=f"{_QWEN_HARNESS} with all inputs, 748 an item on average; ours has 14",
    ),
)
