"""MBPP (Austin et al., arXiv 2108.07732): write a function from one sentence; 3-shot, or as EvalPlus prompts it."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, HubFiles, read_rows
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT

SANITIZED_COLUMNS = ("task_id", "prompt", "code", "test_imports", "test_list")
DOCSTRING_PROTOCOL = "0-shot, the task and its first test in a docstring (EvalPlus), greedy, Qwen base stops"
# Qwen's own base evaluation, arXiv 2409.12186 and the scripts beside it.
DOCSTRING_STOPS = ("\nif __name__", "\ndef main(", "\nprint(", '\n"""', "\nassert")


def read_mbpp(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of MBPP's format: the tests of a task are part of its prompt, after three solved examples."""
    examples = "".join(_question(row) + _unix(row["code"]) + "\n[DONE]\n\n" for row in shots)
    for row in rows:
        tests = "\n".join(row["test_list"])
        yield Item(
            task_id=f"MBPP/{row['task_id']}",
            prompt=examples + _question(row),
            solution=_unix(row["code"]) + "\n",
            entry_point=called_function(row["test_list"][0], row["code"]),
            test=_unix(row["test_setup_code"]) + "\n" + tests,
            question=row["text"],
        )


def read_mbpp_base(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of sanitized MBPP, prompted as EvalPlus and Qwen do; the base tests decide."""
    for row in rows:
        yield docstring_item(row, "\n".join([*row["test_imports"], *row["test_list"]]))


def docstring_item(row: Mapping[str, Any], test: str) -> Item:
    """Return a row of sanitized MBPP's format with the given tests: task and first test are a docstring."""
    prompt = f'"""\n{row["prompt"].strip()}\n{row["test_list"][0]}\n"""\n'
    return Item(
        task_id=f"Mbpp/{row['task_id']}",
        prompt=prompt,
        solution=_unix(row["code"]) + "\n",
        entry_point=called_function(row["test_list"][0], row["code"]),
        test=test,
        source_prefix=prompt,
        question=row["prompt"],
    )


def called_function(test: str, code: str) -> str:
    """Return the function of ``code`` that ``test`` calls; a test may wrap it, as in ``assert set(f(x)) == …``."""
    defined = {node.name for node in ast.walk(ast.parse(_unix(code))) if isinstance(node, ast.FunctionDef)}
    calls = [node.func for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
    found = [func.id for func in calls if isinstance(func, ast.Name) and func.id in defined]
    if not found:
        raise ValueError(f"test {test!r} calls none of {sorted(defined)}; the row's code and tests disagree")
    return found[0]


@cache
def evalplus_tasks() -> frozenset[str]:
    """Return the 399 MBPP tasks of EvalPlus' v0.1.0, as the reference verdicts name them."""
    with files("codeft_eval").joinpath("data", "reference_verdicts.csv").open(encoding="utf-8") as lines:
        return frozenset(row["item"] for row in csv.DictReader(lines) if row["benchmark"] == "mbpp")


def _question(row: Mapping[str, Any]) -> str:
    tests = "\n".join(row["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


_FILE = DataFile(
    name="mbpp.jsonl",
    columns=("task_id", "text", "code", "test_list", "test_setup_code"),
    rows_sha256="cba407c6cce577f744e054d37ce6f7c7436c926be64aedcfee3a77e4021406f9",
    num_rows=974,
    origin="google-research/google-research mbpp/mbpp.jsonl",
    hub=HubFiles(
        repo="google-research-datasets/mbpp",
        revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        paths=tuple(f"full/{split}-00000-of-00001.parquet" for split in ("prompt", "test", "validation", "train")),
    ),
)
MBPP = Benchmark(
    name="mbpp",
    title="MBPP (500 test tasks)",
    kind="code",
    languages=("python",),
    protocol="3-shot, tests in the prompt, greedy",
    version=1,
    data=_FILE,
    read=read_mbpp,
    stops=("[DONE]",),
    max_new_tokens=512,
    select=lambda row: 11 <= row["task_id"] <= 510,
    shots=lambda: [row for row in read_rows(_FILE) if row["task_id"] in (2, 3, 4)],
    published=PublishedFigure(
        benchmark="MBPP 3-shot",
        protocol="3-shot, greedy",
        difference="Qwen does not publish the three examples or the exact task set",
    ),
)
MBPP_EVALPLUS = Benchmark(
    name="mbpp_evalplus",
    title="MBPP (EvalPlus' 399 tasks, base tests)",
    kind="code",
    languages=("python",),
    protocol=DOCSTRING_PROTOCOL,
    version=1,
    data=DataFile(
        name="sanitized-mbpp.json",
        columns=SANITIZED_COLUMNS,
        rows_sha256="7258d9f84887633c29185c8e1721b9bf04850d336667c59a51db55a74c214c40",
        num_rows=427,
        origin="google-research/google-research mbpp/sanitized-mbpp.json",
    ),
    read=read_mbpp_base,
    stops=DOCSTRING_STOPS,
    max_new_tokens=768,
    chat=PYTHON_CHAT,
    select=lambda row: f"Mbpp/{row['task_id']}" in evalplus_tasks(),
    published=PublishedFigure(
        benchmark="MBPP (EvalPlus 399)",
        protocol="0-shot, greedy, MbppPlus v0.1.0",
        difference="Qwen's harness: vLLM in bfloat16 and EvalPlus, which turned the same tests into inputs",
    ),
)
