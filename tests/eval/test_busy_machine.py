"""On a busy machine a right program is not failed for its wall time, and a sleeping one is."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

from codeft_eval.sandbox import pool
from codeft_eval.sandbox.isolation.core_time import Cores, CoreWatch
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import SLEPT, STARVED, Grade, Limits, Program
from codeft_eval.sandbox.provider import Isolation
from codeft_eval.sandbox.selection import PROVIDERS
from tests import patience
from tests.eval.toolchains import needs

LIMITS = Limits(cpu_seconds=2, wall_seconds=3)
RIGHT = "import time\ndef f(x):\n    while time.process_time() < 0.9:\n        pass\n    return x\n"
ASLEEP = "import time\ndef f(x):\n    time.sleep(1000)\n"
SPIN = "while True: pass"


@contextmanager
def spinning():
    """Run four processes a core, so that a program gets a fifth of one."""
    with ExitStack() as stack:
        for _ in range(4 * (os.cpu_count() or 1)):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", SPIN]))
            stack.callback(process.kill)
        yield


def python(source):
    return Program(key="x", source=source, entry_point="f", test="assert f(1) == 1")


@pytest.mark.slow
def test_beside_spinning_processes_no_right_program_fails_and_a_sleeping_one_does():
    with spinning(), Sandbox(limits=LIMITS, num_workers=2) as sandbox:
        sandbox._cores.await_quiet = lambda seconds: False
        right, asleep = sandbox.run([python(RIGHT), python(ASLEEP)])
    assert right.verdict in {"passed", "unscored"}, right
    assert right.reason in {"passed", "starved"}
    assert (asleep.verdict, asleep.reason) == ("failed", "timeout")


@pytest.mark.slow
def test_a_starved_program_of_another_language_is_not_failed():
    needs("shell")
    loop = "f() {\n  for ((i = 0; i < 100000; i++)); do :; done; echo 1\n"
    test = "}\ncandidate() {\n  f\n}\nset -e\n[[ $(candidate) = 1 ]]\nprintf '%s\\n' '@NONCE@'\n"
    program = Program(key="x", source=loop, entry_point="f", prelude="f() {\n", test=test, language="shell")
    with spinning(), Sandbox(limits=LIMITS, language="shell", num_workers=1) as sandbox:
        sandbox._cores.await_quiet = lambda seconds: False
        assert sandbox.run([program])[0].verdict in ("passed", "unscored")


def grade(reason, verdict="unscored"):
    return Grade(key="x", verdict=verdict, reason=reason, isolation="namespaces")


@pytest.mark.parametrize(
    ("first", "second", "is_quiet", "final"),
    [
        ("starved", grade("passed", "passed"), False, ("passed", "passed")),
        ("starved", grade("starved"), False, ("unscored", "starved")),
        ("starved", grade("starved"), True, ("failed", "timeout")),
        ("starved", grade("wall_timeout", "failed"), False, ("failed", "timeout")),
        ("wall_timeout", grade("wall_timeout", "failed"), False, ("failed", "timeout")),
        ("wall_timeout", grade("starved"), True, ("unscored", "starved")),
    ],
)
def test_a_second_run_decides(first, second, is_quiet, final, monkeypatch):
    waited = []
    with Sandbox(limits=LIMITS, num_workers=1) as sandbox:
        monkeypatch.setattr(sandbox._cores, "await_quiet", lambda seconds: is_quiet)
        monkeypatch.setattr(sandbox._cores, "are_quiet", lambda: is_quiet)
        monkeypatch.setattr(sandbox, "_run_one", lambda program, limits: waited.append(limits.wall_seconds) or second)
        found = sandbox._run_alone(python(RIGHT), grade(first), 0.0)
    assert (found.verdict, found.reason, found.num_runs) == (*final, 2)
    assert waited == [LIMITS.wall_seconds * (pool._PATIENT_FACTOR if first == "starved" else 1)]


class BusyAtFirst:
    """Isolates programs on a machine whose cores are taken at each program's first run."""

    def __init__(self):
        self.seen = set()

    def select_isolation(self, level, *, allow_unsafe):
        return Isolation(level="busy")

    def tool_versions(self):
        return {}

    def start_worker(self, isolation):
        return self

    def run(self, program, limits):
        is_first = program.key not in self.seen
        self.seen.add(program.key)
        first = grade(program.source, "failed" if program.source == SLEPT else "unscored")
        return first if is_first else grade("passed", "passed")

    def close(self):
        pass


@pytest.mark.parametrize("reason", [STARVED, SLEPT])
def test_a_late_program_is_run_again_before_its_grade_counts(reason, monkeypatch):
    monkeypatch.setitem(PROVIDERS, "busy", BusyAtFirst)
    monkeypatch.setattr(pool, "_QUIET_SECONDS", 0.0)
    program = Program(key="x", source=reason, entry_point="f", test="", language="busy")
    with Sandbox(language="busy", num_workers=1) as sandbox:
        [found] = sandbox.run([program])
    assert (found.verdict, found.num_runs) == ("passed", 2)


def test_a_process_that_waits_for_nothing_is_not_ready_and_one_that_spins_is(monkeypatch):
    monkeypatch.setattr("codeft_eval.sandbox.isolation.core_time.TICK_SECONDS", 0.0)
    for code, is_ready in ((SPIN, True), ("import signal; signal.pause()", False)):
        command = ["sh", "-c", f"{sys.executable} -c '{code}'; true"]
        parent = subprocess.Popen(command, start_new_session=True)
        try:
            assert eventually(lambda pid=parent.pid, wanted=is_ready: seems_ready(pid) == wanted)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()


def seems_ready(pid):
    watch = CoreWatch(pid)
    for _ in range(20):
        watch.observe()
    return watch.ready_seconds > 0


def eventually(claim):
    for _ in range(10 * patience.SECONDS):
        if claim():
            return True
        time.sleep(0.1)
    return False


def test_a_second_of_idleness_is_measured():
    assert Cores()._idle_seconds() > 0
