"""Selects the strongest isolation level that works here for Python, by running a program under each."""

from __future__ import annotations

import functools
import logging
import platform
import sys
from collections.abc import Sequence

from codeft_eval.sandbox.isolation.levels import LEVELS, UNSAFE
from codeft_eval.sandbox.programs import Limits, Program
from codeft_eval.sandbox.provider import Isolation, SandboxError
from codeft_eval.sandbox.python.client import PythonWorker
from codeft_eval.sandbox.python.libraries import find_libraries

_log = logging.getLogger(__name__)

# Passes only where isolation holds: no network, no host file, no other process; and an honest answer comes back.
_CANARY = """
import os

def _refused(action, *arguments):
    try:
        action(*arguments)
    except OSError:
        return True
    return False

def canary():
    import _socket
    no_network, no_files = _refused(_socket.socket), _refused(os.listdir, "/etc")
    return [no_network, no_files, _refused(os.kill, os.getppid(), 0), _refused(os.fork)]
"""
_LIMITS = Limits(wall_seconds=160.0)
"""A busy machine makes no level unusable."""
_TEST = "def check(candidate):\n    assert candidate() == [True, True, True, True], candidate()\n"


class PythonProvider:
    """Runs Python programs as a judge and a candidate, by namespaces, by Landlock, or unconfined on request."""

    def __init__(self, libraries: Sequence[str] = ()) -> None:
        """Take the installed libraries that programs and tests may import besides the standard library.

        Raises:
            ValueError: one is not installed, or in another version.
        """
        self._libraries = find_libraries(libraries)
        self.versions = self._libraries.versions

    def select_isolation(self, level: str | None, *, allow_unsafe: bool) -> Isolation:
        """Return ``level``, or the strongest level that works where it is None.

        Raises:
            SandboxError: none works, or not the one requested; the message has the reasons.
        """
        reasons: dict[str, str] = {}
        for name in (level,) if level else LEVELS:
            if name == UNSAFE:
                break
            reasons[name] = check_level(name)
            if reasons[name] == "works":
                return Isolation(level=name, reasons=reasons)
        if not allow_unsafe:
            listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or f"{level} was requested"
            raise SandboxError(
                f"no isolation level works on this machine ({listed}); use Linux 6.2 or newer with Landlock, or allow "
                "user namespaces, or accept the risk with allow_unsafe"
            )
        _log.warning("programs run UNCONFINED because of allow_unsafe: %s", reasons)
        return Isolation(level=UNSAFE, reasons=reasons)

    def tool_versions(self) -> dict[str, str]:
        """Return the version of this interpreter, which also runs the programs."""
        return {"python": f"{platform.python_implementation()} {platform.python_version()}"}

    def start_worker(self, isolation: Isolation) -> PythonWorker:
        """Start a worker at the selected level."""
        return PythonWorker(isolation.level, self._libraries)


@functools.cache
def check_level(level: str) -> str:
    """Return ``works``, or why the isolation level does not."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    program = Program(key="canary", source=_CANARY, entry_point="canary", test=_TEST)
    try:
        worker = PythonWorker(level)
    except SandboxError as error:
        return str(error)
    try:
        grade = worker.run(program, _LIMITS)
    except SandboxError as error:
        return str(error)
    finally:
        worker.close()
    return "works" if grade.verdict == "passed" else f"{grade.reason}: {grade.detail} {grade.stderr[-300:]}"
