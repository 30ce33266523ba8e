"""No program passes by a trick, leaves its jail or touches the host, and the next honest program is unaffected."""

import tempfile
from dataclasses import dataclass

import pytest

from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Outcome, Program
from codeft_eval.sandbox.selection import TIERS, probe_tier
from tests.eval.host import LIMITS, SECRET_VARIABLE, Host, a_host, attack, sandbox_processes
from tests.eval.hostile import ATTACKS, TEST


@dataclass
class Report:
    outcomes: dict[str, Outcome]
    host: Host
    survivors: set[int]


@pytest.fixture(scope="module", params=TIERS)
def report(request, tmp_path_factory):
    if probe_tier(request.param) != "works":
        pytest.skip(f"tier {request.param}: {probe_tier(request.param)}")
    before = sandbox_processes()
    with a_host(tmp_path_factory.mktemp("host")) as host, pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET_VARIABLE, "hunter2")
        outcomes = attack(request.param, host)
        yield Report(outcomes, host, sandbox_processes() - before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_passes(report, name):
    outcome = report.outcomes[name]
    assert outcome.verdict == "failed", outcome


def test_every_honest_program_between_attacks_passes(report):
    honest = [outcome for key, outcome in report.outcomes.items() if key.startswith("honest")]
    assert [outcome for outcome in honest if outcome.verdict != "passed"] == []
    assert len(honest) == len(ATTACKS)


def test_the_host_is_unchanged(report):
    assert report.host.is_unchanged()
    assert not report.host.was_contacted()


def test_no_process_survives(report):
    assert report.survivors == set()


def test_the_tier_stands_in_every_outcome(report):
    assert len({outcome.tier for outcome in report.outcomes.values()} & set(TIERS)) == 1


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
    assert report.outcomes[name].reason == reason


@pytest.mark.slow
def test_attacks_pass_without_a_jail():
    # Shows that the attacks above are real: unconfined, what is refused in a jail works.
    harmless = {"secret_file", "host_folder", "passwords", "fork", "shell", "network_by_system_call", "socket_pair"}
    folder = tempfile.gettempdir()
    programs = []
    for name in sorted(harmless):
        source = ATTACKS[name].replace("@FOLDER@/secret", "/etc/hostname").replace("@FOLDER@", folder)
        programs.append(Program(key=name, source=source, entry_point="add", test=TEST))
    with Sandbox(tier="unsafe", allow_unsafe=True, limits=LIMITS, num_workers=2) as sandbox:
        outcomes = sandbox.run(programs)
    assert {outcome.key for outcome in outcomes if outcome.verdict == "passed"} == harmless
    assert {outcome.tier for outcome in outcomes} == {"unsafe"}
