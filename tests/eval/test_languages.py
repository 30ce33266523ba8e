"""Programs of other languages pass by a nonce that their last test prints; isolation holds their whole process tree."""

import os
import re
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from codeft_eval.sandbox.isolation.process_tree import processes_below
from codeft_eval.sandbox.native import client, worker
from codeft_eval.sandbox.native import provider as native_provider
from codeft_eval.sandbox.native.job import NUM_PROCESSES
from codeft_eval.sandbox.native.provider import NativeProvider, check_language
from codeft_eval.sandbox.native.toolchain import NONCE
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS, canary_programs
from codeft_eval.sandbox.native.tools import build_root, missing_tools
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits, Program
from codeft_eval.sandbox.provider import SandboxError
from tests.eval.toolchains import HEAVY, needs

LIMITS = Limits(cpu_seconds=2, wall_seconds=5)


@pytest.fixture(scope="module")
def shell():
    needs("shell")
    with Sandbox(language="shell", limits=LIMITS, num_workers=1) as sandbox:
        yield sandbox


TEST = f"""}}
candidate() {{
    add "$@"
}}
set -e
[[ $(candidate) = "" ]]
printf '%s\\n' '{NONCE}'
"""


def shell_program(source, test=TEST):
    """Return a program that is right if ``source``, which runs before its function is called, goes on to its end."""
    whole = f"add() {{ :; }}\n{source}\n{{ :\n"
    return Program(key="x", source=whole, entry_point="add", test=test, prelude="add() {\n", language="shell")


def run(sandbox, source):
    return sandbox.run([shell_program(source)])[0]


@pytest.mark.parametrize(
    "language", [pytest.param(x, marks=pytest.mark.slow if x in HEAVY else ()) for x in TOOLCHAINS]
)
def test_the_canaries_of_a_language_are_graded_as_expected(language):
    needs(language)
    with Sandbox(language=language, num_workers=1) as sandbox:
        programs = canary_programs(language)
        grades = dict(zip(programs, sandbox.run(programs.values()), strict=True))
    assert {name: grade.verdict for name, grade in grades.items()} == {
        "right": "passed", "wrong": "failed", "early_exit": "failed",
    }  # fmt: skip
    assert grades["early_exit"].reason == "exited"
    assert {grade.isolation for grade in grades.values()} == {"namespaces"}


def test_an_honest_program_passes_also_after_half_a_line_of_output(shell):
    assert run(shell, "printf 'no line break'").verdict == "passed"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("exit 0", "exited"),
        ("exit 3", "test_failed"),
        ("kill -9 $$; exit 1", "test_failed"),
        ("printf 'passed\\n'; exec true", "exited"),
        ("trap 'exit 0' EXIT; false; exit 1", "exited"),
        ("printf '@NONCE@\\n'; exit 0", "exited"),
        ("while :; do :; done", "timeout"),
        ("while :; do echo passed; done", "timeout"),
        ("echo 'the isolation of this step does not start' >&2; exit 127", "test_failed"),
    ],
)
def test_a_shell_program_cannot_fake_a_pass(shell, source, reason):
    grade = run(shell, source)
    assert (grade.verdict, grade.reason) == ("failed", reason), grade


def test_a_step_that_does_not_start_leaves_the_program_unscored_not_failed(monkeypatch):
    needs("shell")
    monkeypatch.setitem(TOOLCHAINS, "shell", replace(TOOLCHAINS["shell"], steps=(("/no/such/tool", "program.sh"),)))
    with Sandbox(language="shell", limits=LIMITS, num_workers=1) as sandbox:
        grade = run(sandbox, ":")
    assert (grade.verdict, grade.reason) == ("unscored", "jail")
    assert grade.detail == "step 1 of 1 ended with status 127: [Errno 2] No such file or directory: '/no/such/tool'"


def test_a_sleeping_program_is_run_once_more_before_it_counts():
    needs("shell")
    with Sandbox(language="shell", limits=Limits(cpu_seconds=1, wall_seconds=1.2), num_workers=1) as sandbox:
        grade = run(sandbox, "sleep 100")
    assert (grade.verdict, grade.reason, grade.num_runs) == ("failed", "timeout", 2)


ATTACKS = {
    "reads a secret": "cat '@FOLDER@/secret' || exit 1",
    "lists the folder": "ls '@FOLDER@' || exit 1",
    "writes to the host": "echo owned > '@FOLDER@/secret' || exit 1",
    "reads the passwords": "cat /etc/passwd || exit 1",
    "connects": "exec 3<>/dev/tcp/127.0.0.1/@PORT@ || exit 1",
    "writes to /usr": "touch /usr/bin/planted || exit 1",
    "finds another process": "[ $(ls -d /proc/[0-9]* | wc -l) -gt 4 ] || exit 1",
    "kills the host's process": "kill -9 @PID@ || exit 1",
    "reads the environment of its starter": "grep -a CODEFT /proc/*/environ || exit 1",
    "finds a planted file": "[ -e /tmp/planted ] || exit 1",
    "mounts": "mount -t tmpfs x /tmp || exit 1",
    "enters a namespace": "unshare -U true || exit 1",
    "writes a large file": "head -c 120000000 /dev/zero > big || exit 1",
    "may start more processes than it needs": f'[ "$(ulimit -u)" = {NUM_PROCESSES} ] && exit 1',
    "fills the disk": "head -c 600000000 /dev/zero > big || exit 1",
}


def test_no_shell_program_escapes_and_the_next_one_is_unaffected(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("CODEFT_TEST_SECRET", "hunter2")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        victim = sleeper()
        try:
            for name, source in ATTACKS.items():
                places = {"@FOLDER@": tmp_path, "@PORT@": listener.getsockname()[1], "@PID@": victim.pid}
                for place, value in places.items():
                    source = source.replace(place, str(value))
                run(shell, "touch /tmp/planted")
                assert run(shell, source).verdict == "failed", name
                assert run(shell, ":").verdict == "passed", name
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert victim.poll() is None
        finally:
            victim.kill()
            victim.wait()
    assert secret.read_text() == "secret"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def sleeper():
    import subprocess
    import sys

    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_a_fork_bomb_and_a_daemon_end_with_their_program(shell):
    for source in (
        "f() { f | f & }; f; sleep 1",
        "(trap '' TERM HUP; setsid sleep 600 &) & disown; kill -9 -1; exit 0",
    ):
        run(shell, source)
        started = shell._workers[0]
        assert processes_below(started._process.pid, 2) == []
    assert run(shell, ":").verdict == "passed"


def test_cpu_seconds_end_a_program_before_its_wall_time():
    needs("shell")
    with Sandbox(language="shell", limits=Limits(cpu_seconds=1, wall_seconds=60), num_workers=1) as sandbox:
        grade = run(sandbox, "while :; do :; done")
    assert (grade.reason, grade.num_runs) == ("timeout", 1)


def test_processes_that_are_too_large_only_together_are_ended(monkeypatch):
    needs("shell")
    limit = 150 << 20
    monkeypatch.setattr(client, "COMPILING", replace(client.COMPILING, memory_bytes=limit))
    # tail holds what it may have to print; no process holds more than half of the limit.
    hold = "for i in 1 2 3; do { head -c 70000000 /dev/zero; sleep 5; } | tail -c 70000000 > /dev/null & done; wait"
    with Sandbox(language="shell", limits=replace(LIMITS, memory_bytes=limit), num_workers=1) as sandbox:
        assert run(sandbox, hold).reason == "memory"


def test_of_a_steps_output_only_the_end_is_kept():
    read_end, write_end = os.pipe()
    os.write(write_end, b"a" * worker.OUTPUT_BYTES + b"end")
    os.close(write_end)
    kept = bytearray()
    assert worker._read_available(read_end, kept)
    os.close(read_end)
    assert len(kept) == worker.OUTPUT_BYTES
    assert kept.endswith(b"aend")


def test_what_anybody_may_write_outside_is_read_only_inside(monkeypatch):
    needs("shell")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o777)
        toolchain = replace(TOOLCHAINS["shell"], folders=(folder,))
        monkeypatch.setitem(TOOLCHAINS, "shell", toolchain)
        with Sandbox(language="shell", limits=LIMITS, num_workers=1) as sandbox:
            assert run(sandbox, f"cd '{folder}' || exit 1").verdict == "passed"
            assert run(sandbox, f"echo owned > '{folder}/planted' || exit 1").reason == "test_failed"
        assert os.listdir(folder) == []


@pytest.mark.slow
def test_a_compile_error_is_named_and_the_program_never_run():
    needs("cpp")
    with Sandbox(language="cpp", limits=LIMITS, num_workers=1) as sandbox:
        right = canary_programs("cpp")["right"]
        program = replace(right, source=right.prelude + "    return 5")
        grade = sandbox.run([program])[0]
    assert (grade.reason, grade.detail) == ("compile_error", "step 1 of 2 ended with status 1")


@pytest.mark.slow
def test_a_memory_hog_of_many_processes_is_ended():
    needs("javascript")
    right = canary_programs("javascript")["right"]
    program = replace(right, source=right.prelude + "const x = []; for (;;) { x.push(Buffer.alloc(50_000_000, 1)); } }")
    with Sandbox(language="javascript", limits=LIMITS, num_workers=1) as sandbox:
        grade = sandbox.run([program])[0]
    assert grade.verdict == "failed"
    assert grade.reason in ("memory", "crashed", "test_failed", "timeout")


def test_a_program_finds_no_test_and_no_secret_in_its_files(shell):
    grade = run(shell, "cat /tmp/* /proc/self/environ /proc/$$/cmdline >&2; exit 1")
    assert "codeft_serve candidate" in grade.stderr
    assert not re.search("[0-9a-f]{32}|set -e|NONCE", grade.stderr)


def test_without_a_tool_the_reasons_are_given(monkeypatch):
    monkeypatch.setattr(native_provider, "missing_tools", lambda language: ["rustc"])
    check_language.cache_clear()
    try:
        with pytest.raises(SandboxError, match=r"no isolation for rust programs.*not installed: rustc.*Landlock alone"):
            NativeProvider("rust").select_isolation(None, allow_unsafe=False)
    finally:
        check_language.cache_clear()


def test_a_canary_that_is_graded_wrongly_stops_the_language(monkeypatch):
    needs("shell")
    monkeypatch.setitem(native_provider._EXPECTED_VERDICTS, "wrong", "passed")
    check_language.cache_clear()
    try:
        with pytest.raises(SandboxError, match="the wrong canary was graded failed"):
            Sandbox(language="shell")
    finally:
        check_language.cache_clear()


def test_a_home_is_never_shown_to_a_program():
    for language, toolchain in TOOLCHAINS.items():
        if not missing_tools(language):
            shown = {Path(folder) for folder in build_root(toolchain).folders}
            assert shown.isdisjoint({Path.home(), *Path.home().parents}), (language, shown)
