"""No program passes by a trick, escapes or touches the host, and the next honest program is unaffected."""

import tempfile
from dataclasses import dataclass

import pytest

from codeft_eval.sandbox.isolation.levels import LEVELS
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Program
from codeft_eval.sandbox.python.provider import check_level
from tests.eval.host import LIMITS, SECRET_VARIABLE, Host, a_host, attack, sandbox_processes
from tests.eval.hostile import ATTACKS, SUITE, TEST


@dataclass
class Report:
    level: str
    grades: dict[str, Grade]
    host: Host
    survivors: set[int]


@pytest.fixture(scope="module", params=LEVELS)
def report(request, tmp_path_factory):
    if check_level(request.param) != "works":
        pytest.skip(f"{request.param}: {check_level(request.param)}")
    before = sandbox_processes()
    with a_host(tmp_path_factory.mktemp("host")) as host, pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET_VARIABLE, "hunter2")
        grades = attack(request.param, host)
        yield Report(request.param, grades, host, sandbox_processes() - before)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITE)
def test_no_attack_passes(report, name):
    grade = report.grades[name]
    assert grade.verdict == "failed", grade


def test_every_honest_program_between_attacks_passes(report):
    honest = [grade for key, grade in report.grades.items() if key.startswith("honest")]
    assert [grade for grade in honest if grade.verdict != "passed"] == []
    assert len(honest) == len(SUITE)


def test_the_host_is_unchanged(report):
    assert report.host.is_unchanged()
    assert not report.host.was_contacted()


def test_no_process_survives(report):
    assert report.survivors == set()


def test_every_grade_names_the_isolation_level(report):
    assert len(report.grades) == 2 * len(SUITE)
    assert {key: grade.isolation for key, grade in report.grades.items() if grade.isolation != report.level} == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("infinite_loop", "timeout"),
        ("loop_that_ignores_signals", "timeout"),
        ("sleeps", "timeout"),
        ("memory_bomb", "memory"),
        ("native_crash", "crashed"),
        ("os_exit_at_load", "exited"),
        ("sys_exit_at_load", "load_error"),
        ("equal_to_everything", "wrong_answer"),
        ("infinite_loop_at_load", "timeout"),
        ("requests_to_the_judge", "protocol"),
    ],
)
def test_the_reason_of_a_failure_is_named(report, name, reason):
    assert report.grades[name].reason == reason


@pytest.mark.slow
def test_attacks_pass_without_isolation():
    # Shows that the attacks above are real: unconfined, they succeed.
    harmless = {"secret_file", "host_folder", "passwords", "fork", "shell", "network_by_system_call", "socket_pair"}
    folder = tempfile.gettempdir()
    programs = []
    for name in sorted(harmless):
        source = ATTACKS[name].replace("@FOLDER@/secret", "/etc/hostname").replace("@FOLDER@", folder)
        programs.append(Program(key=name, source=source, entry_point="add", test=TEST))
    with Sandbox(level="unsafe", allow_unsafe=True, limits=LIMITS, num_workers=2) as sandbox:
        grades = sandbox.run(programs)
    assert {grade.key for grade in grades if grade.verdict == "passed"} == harmless
    assert {grade.isolation for grade in grades} == {"unsafe"}
