"""Verdicts on a teacher's statements: late solutions cost little, and an interrupted judge leaves what it has."""

import gzip
import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from codeft_assets.base.answers import AnswerStore
from codeft_assets.python_names import free_names, parse_module
from codeft_assets.teachers.verdicts import LIMITS, verdict_of
from codeft_eval.sandbox.isolation.process_tree import processes_below
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade
from codeft_eval.sandbox.provider import Isolation
from codeft_eval.sandbox.selection import PROVIDERS
from tests import patience

STATEMENT = 'def double(x):\n    """Return twice x, number {n}.\n\n    >>> double(2)\n    4\n    """'
RIGHT = "    return 2 * x"
ENDLESS = "    while True: pass"
STUBBORN = "    import signal\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n    while True: pass"
SWALLOWS = "    try:\n        while True: pass\n    except BaseException:\n        return 4"
CRASH = "    import os\n    os.abort()"
ASLEEP = "    import time\n    time.sleep(100)"
NOISY = "    import sys\n    sys.stderr.write('x' * 100_000)\n    return 2 * x"


class CountingSandbox(Sandbox):
    """Keeps all programs' grades."""

    def __init__(self):
        super().__init__(limits=LIMITS, num_workers=1)
        self.pending = []

    def submit(self, program):
        self.pending.append(super().submit(program))
        return self.pending[-1]


def row(solutions, n=0):
    facts = {"topic": "t", "subject": "s", "level": "l", "style": "y", "start": "def"}
    return facts | {"key": f"key-{n}", "statement": STATEMENT.format(n=n), "solutions": solutions}


@pytest.mark.parametrize(
    ("solutions", "num_programs"),
    [
        ([ENDLESS, RIGHT], 2),
        ([ASLEEP, RIGHT], 2),
        ([NOISY, RIGHT], 2),
        ([CRASH, RIGHT], 3),
        ([STUBBORN, RIGHT], 3),
        ([RIGHT, CRASH], 2),
        ([f"{ENDLESS}  # {n}" for n in range(6)] + [RIGHT], 3),
    ],
)
def test_a_solution_that_does_not_end_takes_nothing_from_the_others(solutions, num_programs):
    with CountingSandbox() as sandbox:
        verdict = verdict_of(row(solutions), sandbox)
    assert verdict["examples"] == "teacher"
    assert len(sandbox.pending) == num_programs


def test_solutions_that_are_all_late_are_a_timeout():
    with CountingSandbox() as sandbox:
        assert verdict_of(row([ENDLESS, SWALLOWS, STUBBORN]), sandbox)["reason"] == "timeout"


class BusyProvider:
    """Isolates programs on a machine without a free core."""

    def select_isolation(self, level, *, allow_unsafe):
        return Isolation(level="busy")

    def start_worker(self, isolation):
        return self

    def run(self, program, limits):
        return Grade(key=program.key, verdict="unscored", reason="starved", isolation="busy")

    def tool_versions(self):
        return {}

    def close(self):
        pass


def test_a_statement_whose_program_got_no_core_has_no_verdict_and_waits_for_nothing(monkeypatch):
    monkeypatch.setitem(PROVIDERS, "busy", BusyProvider)
    with Sandbox(language="busy", num_workers=1) as sandbox:
        monkeypatch.setattr(sandbox, "gather", None)  # the one that waits for a quiet machine
        assert verdict_of(row([RIGHT]), sandbox) is None


def write_part(folder, rows):
    with gzip.open(folder / "generated-000.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def start_judge(folder):
    command = [sys.executable, "-m", "codeft_assets.teachers", "--output", str(folder), "--only", "judge"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def found_yield(folder):
    return json.loads((folder / "yield.json").read_text())


def await_verdicts(folder, judge):
    with AnswerStore(folder / "verdicts.sqlite") as store:
        while not store.count("verdict 2"):
            assert judge.poll() is None, judge.stderr.read()


def test_a_killed_judge_leaves_no_process(tmp_path):
    write_part(tmp_path, [row([RIGHT], n) for n in range(2000)])
    with start_judge(tmp_path) as judge:
        await_verdicts(tmp_path, judge)
        started = processes_below(judge.pid, 1)
        judge.kill()
        judge.communicate(timeout=patience.SECONDS)  # ends with the last process that holds the pipes
    assert started
    deadline = time.monotonic() + patience.SECONDS  # those without the pipes end a moment later
    while (left := [pid for pid in started if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_interrupted_judge_writes_what_it_has_and_the_next_one_goes_on(tmp_path):
    write_part(tmp_path, [row([RIGHT, CRASH], n) for n in range(800)])
    with start_judge(tmp_path) as judge:
        await_verdicts(tmp_path, judge)
        judge.send_signal(signal.SIGTERM)
        judge.communicate()
    partial = found_yield(tmp_path)
    with gzip.open(tmp_path / "exercises.jsonl.gz", "rt") as lines:
        assert len(list(lines)) == partial["passed"] == 800 - partial["not_judged"]
    assert 0 < partial["passed"] < 800
    write_part(tmp_path, [row([RIGHT], n) for n in range(partial["passed"] + 1)])
    with start_judge(tmp_path) as judge:
        _, progress = judge.communicate()
    assert f"judged {partial['passed'] + 1} of {partial['passed'] + 1}" in progress
    assert found_yield(tmp_path)["not_judged"] == 0


def test_a_text_that_python_warns_of_is_parsed_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_module("def f(x):\n    return x is 1\n")
        assert free_names("y = x is 1") == {"x"}
