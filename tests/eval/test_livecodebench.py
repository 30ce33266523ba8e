"""LiveCodeBench, with rows of our own in upstream's form."""

import base64
import json
import pickle
import zlib
from dataclasses import replace

import pytest

from codeft_eval.benchmarks.catalogue import all_benchmarks, load_items
from codeft_eval.benchmarks.datafiles import read_rows
from codeft_eval.benchmarks.livecodebench import LIVECODEBENCH
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.harness_check import check_harness
from codeft_eval.scoring.options import Options


def cases(*pairs, kind="stdin"):
    return json.dumps([{"input": text, "output": output, "testtype": kind} for text, output in pairs])


def packed(text):
    return base64.b64encode(zlib.compress(pickle.dumps(text))).decode()


SUM = {
    "question_id": "abc1_a", "question_content": "Print the sum of each line.", "contest_date": "2024-03-02T00:00:00",
    "starter_code": "", "public_test_cases": cases(("1 2\n3 4\n", "3\n7\n")),
    "private_test_cases": packed(cases(("5 5\n", "10"), ("0.5 1\n", "1.50"))), "metadata": "{}",
}  # fmt: skip
PAIR = {
    "question_id": "3001", "question_content": "Return the two numbers, larger first.",
    "contest_date": "2024-09-14T00:00:00",
    "starter_code": "class Solution:\n    def order(self, a: int, b: int) -> List[int]:\n",
    "public_test_cases": cases(("1\n2", "[2, 1]"), kind="functional"),
    "private_test_cases": cases(("4\n3", "[4, 3]"), kind="functional"), "metadata": '{"func_name": "order"}',
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    def write(*rows):
        (tmp_path / "livecodebench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        read_rows.cache_clear()

    write(SUM, PAIR)
    monkeypatch.setenv("CODEFT_BENCHMARKS", str(tmp_path))
    yield write
    read_rows.cache_clear()


LINES = "for line in {}:\n    a, b = map(float, line.split())\n    print(f'{{a + b:g}}')\n"
METHOD = "class Solution:\n    def order(self, a: int, b: int) -> List[int]:\n        "


@pytest.mark.parametrize(
    ("index", "completion", "verdict"),
    [
        (0, "import sys\n" + LINES.format("sys.stdin"), "passed"),
        (0, "import sys\n" + LINES.format("sys.stdin.buffer.read().decode().splitlines()"), "passed"),
        (0, LINES.format("open(0)") + "exit()\n", "passed"),
        (0, LINES.format("stdin.readlines()"), "passed"),  # upstream imports every name of sys
        (0, "def main():\n    while True:\n        try:\n            print(sum(map(Decimal, input().split())))\n"
            "        except EOFError:\n            return\nfrom decimal import Decimal\n"
            "if __name__ == '__main__':\n    main()\n", "passed"),
        (0, "import sys\n" + LINES.format("sys.stdin") + "print(1)\n", "failed"),
        (0, "print(3)\nprint(7)\n", "failed"),  # right for the public test only
        (0, "def run_script(text):\n    return text\n", "failed"),
        (0, "raise SystemExit(0)\n", "failed"),
        (1, METHOD + "return [max(a, b), min(a, b)]\n", "passed"),
        (1, METHOD + "return max(a, b), min(a, b)\n", "passed"),
        (1, METHOD + "return [b, a]\n", "failed"),
        (1, METHOD + "exit()\n", "failed"),
    ],
)  # fmt: skip
def test_a_program_is_graded_as_upstream_does(folder, index, completion, verdict):
    with open_grader(LIVECODEBENCH) as grader:
        grade = grader.grade(load_items(LIVECODEBENCH)[index : index + 1], [completion])[0]
    assert grade.verdict == verdict, grade


def test_empty_completions_fail_and_no_solution_is_needed(folder):
    check = check_harness(LIVECODEBENCH, Options())
    assert (check.unexpected, check.num_items) == ({}, 2)


def test_solutions_of_ours_pass_the_check(folder):
    solved = ["import sys\n" + LINES.format("sys.stdin"), METHOD + "return [max(a, b), min(a, b)]\n"]
    items = [replace(item, solution=text) for item, text in zip(load_items(LIVECODEBENCH), solved, strict=True)]
    check = check_harness(replace(LIVECODEBENCH, read=lambda *_: items), Options())
    assert (check.unexpected, check.num_items) == ({}, 2)


def test_a_window_has_the_contests_of_its_dates(folder, monkeypatch):
    monkeypatch.setenv("CODEFT_LIVECODEBENCH", "2024-01-01..2024-08-31, 2024-09-14..")
    found = {name: entry for name, entry in all_benchmarks().items() if name.startswith("livecodebench_")}
    items = {name: [item.task_id for item in load_items(entry)] for name, entry in found.items()}
    assert items == {
        "livecodebench_20240101_20240831": ["2024-03-02/abc1_a"],
        "livecodebench_20240914": ["2024-09-14/3001"],
    }
    assert "2024-01-01 to 2024-08-31" in found["livecodebench_20240101_20240831"].protocol


@pytest.mark.parametrize("text", ["2024", "2024-13-01..", "2024-02-01..2024-01-01"])
def test_a_bad_window_is_refused(monkeypatch, text):
    monkeypatch.setenv("CODEFT_LIVECODEBENCH", text)
    with pytest.raises(ValueError, match=rf"names '{text}', which is no window; write dates as"):
        all_benchmarks()


def test_an_empty_window_is_refused(folder, monkeypatch):
    monkeypatch.setenv("CODEFT_LIVECODEBENCH", "2030-01-01..")
    with pytest.raises(ValueError, match="no problem of LiveCodeBench is in the window"):
        load_items(all_benchmarks()["livecodebench_20300101"])


def test_packed_tests_are_a_text_and_never_code(folder):
    folder(SUM | {"private_test_cases": packed(print)})
    with pytest.raises(ValueError, match=r"'abc1_a' of LiveCodeBench: private_test_cases .*builtins.print is no text"):
        load_items(LIVECODEBENCH)


def test_a_raw_prompt_begins_the_program_and_a_chat_asks_for_it(folder):
    script, method = load_items(LIVECODEBENCH)
    assert script.prompt.endswith(
        "# YOUR CODE HERE\n```\n\n### Answer: (use the provided format with backticks)\n\n```python\n"
    )
    assert PAIR["starter_code"] in method.prompt
    turns = LIVECODEBENCH.find_protocol("chat").chat
    assert turns is not None
    assert turns.question(method.prompt).endswith("backticks)\n\n")
