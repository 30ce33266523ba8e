"""CRUXEval (Gu et al., arXiv 2401.03065): predict a short function's output, or find an input that gives an output.

Prompts are upstream's direct ones, with the beginning of the assertion. The tests run the benchmark's own function,
which is trusted, on the arguments that a model finds, so nothing but such arguments passes.
"""

from __future__ import annotations

from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import Benchmark, Item, Rows
from codeft_eval.benchmarks.datafiles import DataFile

_OUTPUT_INSTRUCTION = """\
You are given a Python function and an assertion containing an input to the function. Complete the assertion with a \
literal (no unsimplified expressions, no function calls) containing the output when executing the provided code on the \
given input, even if the function is incorrect or incomplete. Do NOT output any extra information. Provide the full \
assertion with the correct output in [ANSWER] and [/ANSWER] tags, following the examples.

[PYTHON]
def f(n):
    return n
assert f(17) == ??
[/PYTHON]
[ANSWER]
assert f(17) == 17
[/ANSWER]

[PYTHON]
def f(s):
    return s + "a"
assert f("x9j") == ??
[/PYTHON]
[ANSWER]
assert f("x9j") == "x9ja"
[/ANSWER]

"""
_INPUT_INSTRUCTION = """\
You will be given a function f and an output in the form f(??) == output. Find any input such that executing f on the \
input leads to the given output. There may be multiple answers, but you should only output one. In [ANSWER] and \
[/ANSWER] tags, complete the assertion with one such input that will produce the output when executing the function.

[PYTHON]
def f(my_list):
    count = 0
    for i in my_list:
        if len(i) % 2 == 0:
            count += 1
    return count
assert f(??) == 3
[/PYTHON]
[ANSWER]
assert f(["mq", "px", "zy"]) == 3
[/ANSWER]

[PYTHON]
def f(s1, s2):
    return s1 + s2
assert f(??) == "banana"
[/PYTHON]
[ANSWER]
assert f("ba", "nana") == "banana"
[/ANSWER]

"""
# A call of this is the program: an empty completion is no answer, and a comment in it ends with its line.
_ONE_VALUE = "def one_value(value):\n    return value\n\n\ndef answer():\n    return one_value("
_ARGUMENTS = "def arguments(*values, **named):\n    return values, named\n\n\ndef answer():\n    return arguments"


def read_output_prediction(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items whose completion is the value that the function returns."""
    for row in rows:
        assertion = f"assert f({row['input']}) =="
        yield Item(
            task_id=f"CRUXEval-O/{row['id']}",
            prompt=f"{_OUTPUT_INSTRUCTION}[PYTHON]\n{row['code']}\n{assertion} ??\n[/PYTHON]\n[ANSWER]\n{assertion}",
            solution=f" {row['output']}",
            entry_point="answer",
            test=f"def check(candidate):\n    assert candidate() == {row['output']}\n",
            source_prefix=_ONE_VALUE,
            source_suffix="\n    )\n",
            prelude="",
            question=f"{row['code']}\nassert f({row['input']}) == {row['output']}",
        )


def read_input_prediction(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items whose completion is a list of arguments in parentheses."""
    for row in rows:
        yield Item(
            task_id=f"CRUXEval-I/{row['id']}",
            prompt=f"{_INPUT_INSTRUCTION}[PYTHON]\n{row['code']}\nassert f(??) == {row['output']}\n"
            "[/PYTHON]\n[ANSWER]\nassert f",
            solution=f"({row['input']})",
            entry_point="answer",
            test=f"def check(candidate):\n    values, named = candidate()\n    assert f(*values, **named) == "
            f"{row['output']}\n",
            source_prefix=f"{row['code']}\n\n\n{_ARGUMENTS}",  # arguments may name what the function's module defines
            prelude=row["code"],
            question=f"{row['code']}\nassert f({row['input']}) == {row['output']}",
        )


_FILE = DataFile(
    name="cruxeval.jsonl",
    columns=("id", "code", "input", "output"),
    rows_sha256="2eb1f3405b282839bee635f4d25d28d5aa115079c03c23c2be29ee79adb31108",
    num_rows=800,
    origin="facebookresearch/cruxeval@190faf16 data/cruxeval.jsonl",
)
CRUXEVAL = (
    Benchmark(
        name="cruxeval_output",
        title="CRUXEval, output prediction",
        kind="code",
        languages=("python",),
        protocol="2-shot, direct answer after `==`, greedy",
        version=1,
        data=_FILE,
        read=read_output_prediction,
        stops=("[/ANSWER]", "\n"),
        max_new_tokens=256,
    ),
    Benchmark(
        name="cruxeval_input",
        title="CRUXEval, input prediction",
        kind="code",
        languages=("python",),
        protocol="2-shot, direct arguments after `assert f`, greedy",
        version=1,
        data=_FILE,
        read=read_input_prediction,
        stops=("[/ANSWER]", " ==", "\n"),
        max_new_tokens=256,
    ),
)
