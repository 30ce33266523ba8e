"""Starts a fork server in an interpreter of its own, and ends it: what those of all languages have in common."""

import json
import socket
import subprocess
import sys
from pathlib import Path

SLACK_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
_PACKAGE_ROOT = Path(__file__).parents[3]
_START = "import sys; sys.path.insert(0, sys.argv.pop(3)); from codeft_eval.sandbox.{module} import main; main()"
# No variable of ours: a hash seed, so that unordered sets do not make verdicts differ from run to run, and a locale.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


class SandboxError(Exception):
    """The sandbox itself failed; says nothing about the program."""


class ServerProcess:
    """A running fork server and the socket that it is told through."""

    def __init__(self, module: str, described: str) -> None:
        """Starts `main` of the module, which is given a socket's descriptor and `described`.

        Raises:
            SandboxError: it does not report that it is ready; the message says why.
        """
        self.control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(SLACK_SECONDS)
        # -I would ignore the hash seed; without site, no installed package is on the path.
        start = _START.format(module=module)
        with its_end:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-P", "-c", start, str(its_end.fileno()), described, str(_PACKAGE_ROOT)],
                env=_ENVIRONMENT,
                pass_fds=[its_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
            )
        self.pid = self._process.pid
        self._await_ready()

    def close(self) -> bytes:
        """Ends the fork server and everything it forked; what it said on its error output."""
        self.control.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        # Everything the server forked holds its error output until it ends.
        return self._process.communicate()[1]

    def _await_ready(self) -> None:
        try:
            answer = json.loads(self.control.recv(4096) or b"{}")
        except OSError as error:
            answer = {"refused": str(error)}
        if "ready" not in answer:
            self._process.kill()
            said = self.close().decode(errors="replace")[-500:].strip()
            raise SandboxError(answer.get("refused") or said or "it ended at once")
