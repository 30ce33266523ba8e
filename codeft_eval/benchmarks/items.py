"""A benchmark's item, and how the Python files become items. Text only: nothing here runs a test."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One problem as the model and the oracle see it."""

    task_id: str
    prompt: str
    "what the model continues, without the shots"
    solution: str
    "the canonical continuation: scored in bits per byte, and run by the harness check; empty where there is none"
    entry_point: str = ""
    test: str = ""
    answer: str = ""
    "the expected answer, where the oracle compares answers"
    source_prefix: str = ""
    "what comes before the completion in the program"
    question: str = ""
    "the statement alone, for decontamination"
    language: str = "python"
    "of the program; answers that are compared have none"

    @property
    def is_judged(self) -> bool:
        """Whether anything can tell right from wrong; a problem without an answer is weighed only."""
        return bool(self.test or self.answer)

    @property
    def weighed_text(self) -> str:
        """What the log-likelihood covers: lm-eval moves white space at the prompt's end to the solution."""
        return self.prompt[len(self.prompt.rstrip()) :] + self.solution


Rows = Sequence[Mapping[str, Any]]


def read_humaneval(rows: Rows, shots: Rows) -> Iterable[Item]:
    """HumanEval's format; the prompt as EvalPlus and Qwen send it: stripped, one newline, no tabs."""
    for row in rows:
        yield humaneval_item(row, row["test"])


def humaneval_item(row: Mapping[str, Any], test: str) -> Item:
    """A row of HumanEval's format, with tests of one's own."""
    prompt = row["prompt"].strip().replace("\t", "    ") + "\n"
    return Item(
        task_id=row["task_id"],
        prompt=prompt,
        solution=row["canonical_solution"],
        entry_point=row["entry_point"],
        test=test,
        source_prefix=prompt,
        question=row["prompt"],
    )


def read_mbpp(rows: Rows, shots: Rows) -> Iterable[Item]:
    """MBPP's format: the tests of a task are part of its prompt, after three solved examples."""
    examples = "".join(_mbpp_question(row) + _unix(row["code"]) + "\n[DONE]\n\n" for row in shots)
    for row in rows:
        tests = "\n".join(row["test_list"])
        yield Item(
            task_id=f"MBPP/{row['task_id']}",
            prompt=examples + _mbpp_question(row),
            solution=_unix(row["code"]) + "\n",
            entry_point=called_function(row["test_list"][0], row["code"]),
            test=_unix(row["test_setup_code"]) + "\n" + tests,
            question=row["text"],
        )


def read_mbpp_base(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Sanitized MBPP as EvalPlus and Qwen prompt it: task and first test in a docstring; the base tests decide."""
    for row in rows:
        yield docstring_item(row, "\n".join([*row["test_imports"], *row["test_list"]]))


def docstring_item(row: Mapping[str, Any], test: str) -> Item:
    """A row of sanitized MBPP's format, with tests of one's own."""
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
    """The function of `code` that `test` calls; a test may wrap it, as in `assert set(f(x)) == …`."""
    defined = {node.name for node in ast.walk(ast.parse(_unix(code))) if isinstance(node, ast.FunctionDef)}
    calls = [node.func for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
    found = [func.id for func in calls if isinstance(func, ast.Name) and func.id in defined]
    if not found:
        raise ValueError(f"test {test!r} calls none of {sorted(defined)}; the row's code and tests disagree")
    return found[0]


def _mbpp_question(row: Mapping[str, Any]) -> str:
    tests = "\n".join(row["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
