"""Bait on the host for hostile programs, and the check that it is untouched afterwards."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import codeft_eval
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Limits, Program
from tests.eval.hostile import HONEST, SUITE, TEST

LIMITS = Limits(
    cpu_seconds=1, wall_seconds=2.5, memory_bytes=256 << 20
)  # reached well within the CPU second, also on a busy machine
SECRET_VARIABLE = "CODEFT_TEST_SECRET"


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
            "@PACKAGES@": sysconfig.get_path("purelib"),
            "@BASE_PACKAGES@": sysconfig.get_path("stdlib") + "/site-packages",
        }
        for place, value in places.items():
            source = source.replace(place, value)
        return source

    def is_unchanged(self) -> bool:
        secret = self.folder / "secret"
        names = sorted(path.name for path in self.folder.iterdir())
        if names != ["secret", "service"] or self.victim.poll() is not None:
            return False
        return secret.read_text() == "secret" and secret.stat().st_mode & 0o777 == 0o600

    def was_contacted(self) -> bool:
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


@contextmanager
def a_host(folder: Path) -> Iterator[Host]:
    """A secret file, a unix socket, a network service and a process that must all be left alone."""
    secret = folder / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    with ExitStack() as stack:
        service = stack.enter_context(socket.socket(socket.AF_UNIX))
        service.bind(str(folder / "service"))
        service.listen()
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        victim = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        stack.callback(victim.wait)
        stack.callback(victim.send_signal, signal.SIGKILL)
        yield Host(folder, victim, listener)


def attack(level: str, host: Host) -> dict[str, Grade]:
    """Return the grades of all attacks, each followed by an honest program."""
    programs = []
    for name, source in SUITE.items():
        programs.append(Program(key=name, source=host.fill_in(source), entry_point="add", test=TEST))
        programs.append(Program(key=f"honest after {name}", source=HONEST, entry_point="add", test=TEST))
    with Sandbox(level=level, limits=LIMITS, num_workers=2) as sandbox:
        return {grade.key: grade for grade in sandbox.run(programs)}


def sandbox_processes() -> set[int]:
    """Return the workers of this process, and processes that an attack would leave behind, whatever their parents."""
    pids = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        is_ours = b"codeft_eval.sandbox.python.worker" in command and parent in (os.getpid(), 1)
        if is_ours or command.startswith(b"sleep\x00600"):
            pids.add(int(entry))
    return pids
