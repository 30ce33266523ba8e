"""EvalPlus' tests: many inputs an item, sent to the candidate in few messages and compared in the judge.

Expected values are in the tests (as the Hub has them) or are what the canonical solution answers (as in EvalPlus' own
files), with EvalPlus' tolerances. Their NumPy is three names, which the judge does without.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from codeft_eval.benchmarks.items import Item, Rows, docstring_item, humaneval_item

# The three names of NumPy that EvalPlus' tests use; lists are compared element by element, as np.allclose does.
_NUMPY = """
class np:
    ndarray = ()
    float64 = float32 = float
    @staticmethod
    def allclose(given, expected, rtol=1e-07, atol=1e-08):
        if isinstance(expected, (list, tuple)):
            same = isinstance(given, (list, tuple)) and len(given) == len(expected)
            return same and all(np.allclose(a, b, rtol, atol) for a, b in zip(given, expected))
        return given == expected or abs(given - expected) <= atol + rtol * abs(expected)
"""
_MINI = """
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
_LOOP = re.compile(r"^( *)for i, \(inp, exp\) in enumerate\(zip\(inputs, results\)\):$", re.MULTILINE)


def read_humaneval_plus(rows: Rows, shots: Rows) -> Iterable[Item]:
    """HumanEval+ as the Hub has it: a check function with inputs and results."""
    for row in rows:
        yield humaneval_item(row, _in_few_messages(row["test"], "candidate"))


def read_humaneval_plus_mini(rows: Rows, shots: Rows) -> Iterable[Item]:
    """HumanEval+ as EvalPlus' own file has it: inputs, and the canonical solution to answer them."""
    for row in rows:
        yield humaneval_item(row, _reference_test(row))


def read_mbpp_plus(rows: Rows, shots: Rows) -> Iterable[Item]:
    """MBPP+ as the Hub has it, prompted as EvalPlus and Qwen do: a docstring with the first test."""
    for row in rows:
        item = docstring_item(row, "")
        test = "\n".join([*row["test_imports"], *row["test_list"], _in_few_messages(row["test"], item.entry_point)])
        yield docstring_item(row, test)


def _reference_test(row: Mapping[str, Any]) -> str:
    given = {
        "_SOURCE": row["prompt"] + row["canonical_solution"],
        "_ENTRY_POINT": row["entry_point"],
        "_INPUTS": json.dumps(row["base_input"] + row["plus_input"]),
        "_ATOL": row["atol"],
    }
    return "".join(f"{name} = {value!r}\n" for name, value in given.items()) + _NUMPY + _MINI


def _in_few_messages(test: str, function: str) -> str:
    own = re.sub(r"^import numpy as np$", lambda _: _NUMPY, test, flags=re.MULTILINE)
    return _LOOP.sub(lambda match: f"{match[1]}{function} = call_batched({function}, inputs)\n{match[0]}", own)
