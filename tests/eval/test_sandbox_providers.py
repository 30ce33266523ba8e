"""The strongest isolation level that works is selected, and another provider is one entry away."""

import socket
import subprocess
import sys

import pytest

from codeft_eval.sandbox.isolation import landlock, syscalls, worker_process
from codeft_eval.sandbox.isolation.levels import LEVELS
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Program
from codeft_eval.sandbox.provider import Isolation, SandboxError
from codeft_eval.sandbox.python import provider as python_provider
from codeft_eval.sandbox.python.client import PythonWorker
from codeft_eval.sandbox.python.provider import PythonProvider, check_level
from codeft_eval.sandbox.selection import PROVIDERS


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(num_workers=1) as sandbox:
        yield sandbox


def grade(sandbox, source, test="assert f() == 1"):
    return sandbox.run([Program(key="x", source=source, entry_point="f", test=test)])[0]


def test_each_program_is_the_first_process_of_a_namespace_of_its_own(sandbox):
    if sandbox.isolation.level != "namespaces":
        pytest.skip("only namespaces have one")
    assert grade(sandbox, "import os\ndef f():\n    return os.getpid()", "assert f() == 1").verdict == "passed"


def test_the_namespaces_reach_no_network_even_without_a_filter_of_calls():
    if check_level("namespaces") != "works":
        pytest.skip(check_level("namespaces"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = f"""
import socket
from codeft_eval.sandbox.isolation.namespaces import Namespaces, Root
Namespaces.enter(Root(folders=(), files=()))
channel = socket.socket()
try:
    channel.connect(("127.0.0.1", {listener.getsockname()[1]}))
except OSError:
    raise SystemExit(0)
raise SystemExit(3)"""
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_isolation_works_on_this_machine():
    assert PythonProvider().select_isolation(None, allow_unsafe=False).level in LEVELS


@pytest.mark.skipif(syscalls.landlock_abi() < landlock.MINIMUM_ABI, reason="this kernel's Landlock is too old")
def test_landlock_works_where_the_kernel_has_landlock():
    assert check_level("landlock") == "works"


def test_namespaces_work_where_the_kernel_grants_user_namespaces():
    code = """
from codeft_eval.sandbox.isolation import syscalls
try:
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
except OSError:
    raise SystemExit(3)"""
    status = subprocess.run([sys.executable, "-c", code], check=False).returncode
    if status == 3:
        pytest.skip("the kernel grants no user namespaces")
    assert status == 0
    assert check_level("namespaces") == "works"


@pytest.mark.parametrize("level", LEVELS)
def test_a_requested_isolation_level_is_the_one_used(level):
    if check_level(level) != "works":
        pytest.skip(check_level(level))
    with Sandbox(level=level, num_workers=1) as sandbox:
        assert grade(sandbox, "def f():\n    return 1").isolation == level


def test_without_isolation_nothing_runs_and_the_reasons_are_given(monkeypatch):
    monkeypatch.setattr(python_provider, "check_level", lambda level: f"{level} is switched off")
    with pytest.raises(SandboxError, match=r"namespaces is switched off.*landlock is switched off.*allow_unsafe"):
        Sandbox()


def test_unconfined_is_a_users_explicit_choice_and_marked(monkeypatch):
    monkeypatch.setattr(python_provider, "check_level", lambda level: "off")
    with Sandbox(allow_unsafe=True, num_workers=1) as sandbox:
        assert grade(sandbox, "def f():\n    return 1").isolation == "unsafe"
    with pytest.raises(SandboxError, match="unsafe was requested"):
        Sandbox(level="unsafe")


def test_an_isolation_level_that_cannot_start_gives_the_reason():
    with pytest.raises(SandboxError, match="does not start"):
        PythonWorker("no such level")


def test_a_worker_that_ends_without_an_error_is_reported_with_its_status(monkeypatch):
    monkeypatch.setattr(worker_process, "_START", "raise SystemExit(7) # {module}")
    with pytest.raises(SandboxError, match=r"python\.worker ended with status 7 before it reported that it is ready"):
        PythonWorker("namespaces")


class EchoProvider:
    """A third way to isolate a program: here it runs nowhere, and passes when its source is its test."""

    closed = 0

    def select_isolation(self, level, *, allow_unsafe):
        return Isolation(level=level or "container")

    def start_worker(self, isolation):
        self.level = isolation.level
        return self

    def run(self, program, limits):
        if program.source == "broken":
            raise SandboxError("the container is gone")
        verdict = "passed" if program.source == program.test else "failed"
        return Grade(key=program.key, verdict=verdict, reason=verdict, isolation=self.level)

    def tool_versions(self):
        return {}

    def close(self):
        EchoProvider.closed += 1


def test_a_third_provider_is_plugged_in_by_one_entry(monkeypatch):
    monkeypatch.setitem(PROVIDERS, "echo", EchoProvider)
    monkeypatch.setattr(EchoProvider, "closed", 0)
    programs = [Program(key=test, source="a", entry_point="", test=test, language="echo") for test in "ab"]
    with Sandbox(language="echo", num_workers=1) as sandbox:
        grades = sandbox.run(programs)
    assert [(grade.key, grade.verdict, grade.isolation) for grade in grades] == [
        ("a", "passed", "container"), ("b", "failed", "container"),
    ]  # fmt: skip
    assert EchoProvider.closed == 1


def test_a_providers_own_failure_leaves_the_program_unscored_not_failed(monkeypatch):
    monkeypatch.setitem(PROVIDERS, "echo", EchoProvider)
    with Sandbox(language="echo", num_workers=1) as sandbox:
        found = grade(sandbox, "broken", "broken")
    assert (found.verdict, found.reason, found.detail) == ("unscored", "sandbox", "the container is gone")


def test_a_language_without_a_provider_is_refused_by_name():
    with pytest.raises(ValueError, match=r"language 'cobol': the sandbox has providers for .*'python'"):
        Sandbox(language="cobol")


def test_the_worker_holds_no_module_that_every_fork_would_copy_for_nothing():
    """Each of these made a program cost more: they find libraries, which the pool does, not the worker."""
    code = (
        "import sys; sys.path.insert(0, '.'); from codeft_eval.sandbox.python import worker\n"
        "print({'email', 'importlib.metadata', 'tempfile', 'asyncio', 'unittest'} & set(sys.modules))"
    )
    command = [sys.executable, "-S", "-s", "-P", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
