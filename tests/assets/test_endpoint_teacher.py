"""Exercises by a teacher behind a real HTTP server with errors and cut answers, judged in the real sandbox."""

import collections
import gzip
import json
import re
import threading

from codeft_assets.teachers.__main__ import main
from tests.assets.fake_endpoint import completion, reply, serving

GOOD = ('def double{n}(x: int) -> int:\n    """Return twice x, for task {n}.\n\n    >>> double{n}(2)\n    4\n    """',
        ["    return 2 * x", "    return x + x"])  # fmt: skip
WRONG_EXAMPLE = (GOOD[0].replace("double", "twice").replace("    4\n", "    5\n"), GOOD[1])
IMPORT = ('def root{n}(x):\n    """Round down the root of x.\n\n    >>> root{n}(17)\n    4\n    """',
          ["    return math.isqrt(x)"])  # fmt: skip
NO_MAJORITY = (WRONG_EXAMPLE[0].replace("twice", "unclear"), ["    return 1", "    return 2", "    return 3"])
ENDLESS = (GOOD[0].replace("double", "endless"), ["    while True: pass"])
NO_NAME = (GOOD[0].replace("double", "nameless"), ["    return y"])
RAISES = (GOOD[0].replace("double", "raises"), ["    return 1 // 0"])
LIAR = "    return type('Liar', (), {'__repr__': lambda self: '4'})()"
FORGED = (GOOD[0].replace("double", "forged"), [LIAR])
NO_DOCSTRING = ("def f{n}(x):\n    # nothing", [])
NO_EXAMPLE = ('def f{n}(x):\n    """Return x."""', [])
SYNTAX = ("def f{n}(x:\n", [])
COPY = (GOOD[0].replace("{n}", ""), GOOD[1])
BANK = [
    GOOD,
    WRONG_EXAMPLE,
    IMPORT,
    NO_MAJORITY,
    ENDLESS,
    NO_NAME,
    RAISES,
    FORGED,
    NO_DOCSTRING,
    NO_EXAMPLE,
    SYNTAX,
    COPY,
    COPY,
]
REJECTED = {
    "example_failed": 1, "timeout": 1, "name_error": 1, "exception": 1, "no_docstring": 1, "no_example": 1,
    "syntax": 1, "duplicate": 1, "not_reproduced": 1,
}  # fmt: skip
FAULTS = ((), ("429",), ("500",), ("cut",), ("cut", "500"))


class Teacher:
    """Answers statement requests from the bank in order, and solution requests by the name of the function."""

    def __init__(self, bank):
        self.bank, self.lock = bank, threading.Lock()
        self.calls, self.answered, self.statements = collections.Counter(), collections.Counter(), {}
        self.keys, self.solved = set(), collections.Counter()

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        key, question = handler.headers["Idempotency-Key"], body["messages"][0]["content"]
        with self.lock:
            self.calls[key] += 1
            self.keys.add(handler.headers["Authorization"])
            faults = FAULTS[int(key[:6], 16) % len(FAULTS)]
            fault = faults[self.calls[key] - 1] if self.calls[key] <= len(faults) else ""
        if fault == "cut":
            reply(handler, 200, b'{"choices": [', length=400)
            handler.close_connection = True
        elif fault:
            reply(handler, int(fault), b"{}", {"Retry-After": "0"} if fault == "429" else {})
        else:
            with self.lock:
                self.answered[key] += 1
                text = self.text(key, question)
            reply(handler, 200, completion(text))

    def text(self, key, question):
        if question.startswith("Write one more"):
            number = self.statements.setdefault(key, len(self.statements))
            return f"Here it is:\n```python\n{self.bank[number % len(self.bank)][0].format(n=number)}\n```"
        statement = question.partition("```python\n")[2].removesuffix("```")
        self.solved[statement] += 1
        name = re.search(r"def ([a-z]+)\d*\(", statement)[1]
        solutions = next(found for text, found in self.bank if f"def {name}" in text)
        return f"```python\n{statement}{solutions[self.solved[statement] % len(solutions)]}\n```\nIt works."


def run(url, output, *more):
    assert main(["--teacher", url, "--model", "m", "--output", str(output), "--solutions", "3", *more]) == 0
    return json.loads((output / "yield.json").read_text())


def rows(path):
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def test_what_passes_is_kept_and_every_reject_has_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_TEACHER_KEY", "a-key")
    monkeypatch.setattr("codeft_assets.origins.origin.FIRST_WAIT_SECONDS", 0.01)
    teacher = Teacher(BANK)
    with serving(teacher) as url:
        report = run(url, tmp_path, "--count", str(len(BANK)))
        assert set(teacher.answered.values()) == {1}
        first = teacher.calls.total()
        again = run(url, tmp_path, "--count", str(len(BANK)))
    assert teacher.calls.total() == first, "a second run asks nothing"
    assert teacher.keys == {"Bearer a-key"}
    assert again["rejected"] == report["rejected"] == REJECTED
    assert report["passed_by_examples"] == {"teacher": 3, "computed": 1}
    assert report["made"] == len(BANK) == report["passed"] + sum(report["rejected"].values())
    kept = {re.search(r"def ([a-z]+)", row["text"])[1]: row for row in rows(tmp_path / "exercises.jsonl.gz")}
    assert "(2)\n    4" in kept["twice"]["text"]
    assert kept["twice"]["examples"] == "computed"
    assert kept["root"]["text"].startswith("import math\n")
    assert len(rows(tmp_path / "rejects.jsonl.gz")) == sum(REJECTED.values())
    assert report["generation"]["num_requests"] == first
    assert report["generation"]["input_tokens"] == 100 * teacher.answered.total()


def test_a_key_never_reaches_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_TEACHER_KEY", "sesame-4711")
    with serving(Teacher([GOOD])) as url:
        run(url, tmp_path, "--count", "1")
    for path in tmp_path.iterdir():
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert b"sesame-4711" not in content


def test_judging_without_parts_says_so(tmp_path, capsys):
    assert main(["--output", str(tmp_path), "--only", "judge"]) == 1
    assert "generate first" in capsys.readouterr().err
