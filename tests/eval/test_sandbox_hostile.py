"""No program passes by a trick, leaves its jail or touches the host, and the next honest program is unaffected."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import codeft_eval
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.probe import TIERS, probe_tier
from codeft_eval.sandbox.programs import Limits, Outcome, Program
from tests.eval.hostile import ATTACKS, HONEST, TEST

LIMITS = Limits(cpu_seconds=1, wall_seconds=2.5, memory_bytes=512 << 20)


@dataclass
class Host:
    folder: Path
    victim: subprocess.Popen
    listener: socket.socket

    def fill_in(self, source: str) -> str:
        places = {
            "@FOLDER@": str(self.folder),
            "@VICTIM@": str(self.victim.pid),
            "@PORT@": str(self.listener.getsockname()[1]),
            "@PACKAGE@": str(Path(codeft_eval.__file__).parent),
            "@PACKAGES@": repr([sysconfig.get_path("purelib"), sysconfig.get_path("stdlib") + "/site-packages"]),
        }
        for place, value in places.items():
            source = source.replace(place, value)
        return source

    def is_unchanged(self) -> bool:
        secret = self.folder / "secret"
        intact = secret.read_text() == "secret" and secret.stat().st_mode & 0o777 == 0o600
        names = sorted(path.name for path in self.folder.iterdir())
        return intact and names == ["secret", "service"] and self.victim.poll() is None

    def was_contacted(self) -> bool:
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


@dataclass
class Report:
    outcomes: dict[str, Outcome]
    host: Host
    survivors: set[int]


@pytest.fixture(scope="module", params=TIERS)
def report(request, tmp_path_factory):
    if probe_tier(request.param) != "works":
        pytest.skip(f"tier {request.param}: {probe_tier(request.param)}")
    folder = tmp_path_factory.mktemp("host")
    secret = folder / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    service = socket.socket(socket.AF_UNIX)
    service.bind(str(folder / "service"))
    service.listen()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    victim = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    host = Host(folder, victim, listener)
    before = _processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEFT_TEST_SECRET", "hunter2")
        outcomes = _run_all(request.param, host)
    yield Report(outcomes, host, _processes() - before)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    listener.close()
    service.close()


def _run_all(tier: str, host: Host) -> dict[str, Outcome]:
    programs = []
    for name, source in ATTACKS.items():
        programs.append(Program(key=name, source=host.fill_in(source), entry_point="add", test=TEST))
        programs.append(Program(key=f"honest after {name}", source=HONEST, entry_point="add", test=TEST))
    with Sandbox(tier=tier, limits=LIMITS, num_workers=2) as sandbox:
        return {outcome.key: outcome for outcome in sandbox.run(programs)}


def _processes() -> set[int]:
    """Processes that descend from this one; a daemon that got away from its parents is found by its command."""
    pids = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if b"codeft_eval.sandbox.zygote" in command or command.startswith(b"sleep\x00600"):
            pids.add(int(entry))
    return pids


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
        ("memory_creep", "memory"),
        ("native_crash", "crashed"),
        ("os_exit_at_load", "exited"),
        ("sys_exit_at_load", "load_error"),
        ("equal_to_everything", "wrong_answer"),
        ("infinite_loop_at_load", "timeout"),
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
