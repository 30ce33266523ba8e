"""Starts a worker in an interpreter of its own, and ends it: the part that workers of all languages share.

A worker is a fork server: it is isolated once, stays warm, and forks children for each program.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from codeft_eval.sandbox.provider import SandboxError

SLACK_SECONDS = 20.0
_START_SECONDS = 120.0
"""A worker imports the libraries of a benchmark first; a busy machine is slow, not refused."""
_CLOSE_SECONDS = 5.0
_PACKAGE_ROOT = Path(__file__).parents[3]
_START = "import sys; sys.path.insert(0, sys.argv.pop(3)); from codeft_eval.sandbox.{module} import main; main()"
# None of our variables: a hash seed, so that unordered sets do not change verdicts between runs, and a locale.
# Shared libraries are bound at once: otherwise each child binds what it calls.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "LD_BIND_NOW": "1"}


class WorkerProcess:
    """A running worker and its control socket."""

    def __init__(self, module: str, configuration: str) -> None:
        """Start ``main`` of the module below ``codeft_eval.sandbox``, with a socket's descriptor and the configuration.

        Raises:
            SandboxError: it does not report that it is ready; the message has the reason.
        """
        self._module = module
        self.control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(_START_SECONDS)
        # -I would ignore the hash seed; without site (-S), no installed package is on the path.
        command = [sys.executable, "-S", "-s", "-P", "-c", _START.format(module=module)]
        with its_end:
            self._process = subprocess.Popen(
                [*command, str(its_end.fileno()), configuration, str(_PACKAGE_ROOT)],
                env=_ENVIRONMENT,
                pass_fds=[its_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
            )
        self.pid = self._process.pid
        self._await_ready()
        self.control.settimeout(SLACK_SECONDS)

    def close(self) -> bytes:
        """End the worker and everything it forked; return its error output."""
        self.control.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        # Everything the worker forked holds its error output until it ends.
        return self._process.communicate()[1]

    def _await_ready(self) -> None:
        try:
            answer = json.loads(self.control.recv(4096) or b"{}")
        except OSError as error:
            answer = {"refused": str(error)}
        if "ready" not in answer:
            self._process.kill()
            errors = self.close().decode(errors="replace")[-500:].strip()
            raise SandboxError(answer.get("refused") or errors or self._silent_end())

    def _silent_end(self) -> str:
        return (
            f"{self._module} ended with status {self._process.returncode} before it reported that it is ready, and "
            "wrote no error; a negative status is a signal, and -9 most often lack of memory"
        )
