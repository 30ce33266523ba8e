"""The pool's end of one job process: the work that it is given, and the reports that it sends."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from codeft_eval.sandbox.isolation.namespaces import SCRATCH
from codeft_eval.sandbox.native.toolchain import Toolchain
from codeft_eval.sandbox.native.toolchains import COMPILING
from codeft_eval.sandbox.native.tools import command_lines
from codeft_eval.sandbox.native.worker import SCRATCH_BYTES
from codeft_eval.sandbox.programs import Limits

NUM_PROCESSES = 256
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": SCRATCH, "TMPDIR": SCRATCH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


@dataclass(slots=True)
class Job:
    """A job process as seen through its channel; it sends a report only after the one before was taken."""

    channel: socket.socket
    report: dict[str, Any] | None = None
    """The latest, until it is taken."""
    _data: bytearray = field(default_factory=bytearray)

    def begin(self, work: dict[str, Any]) -> None:
        """Send the files and the steps."""
        self.channel.sendall(json.dumps(work).encode() + b"\n")

    def run_last_step(self) -> None:
        """Let the job go on from its build to its last step."""
        self.channel.sendall(b"\n")

    def stop(self) -> None:
        """End the step that runs, and let no other begin."""
        self.channel.shutdown(socket.SHUT_WR)

    def receive(self) -> None:
        """Read what the job process sent; a line is a report.

        Raises:
            OSError: it ended within a line, or before any.
        """
        part = self.channel.recv(1 << 20)
        if not part:
            raise OSError("the process of the program ended without a report")
        self._data += part
        if not self._data.endswith(b"\n"):
            return
        report, self._data = json.loads(self._data), bytearray()
        if "refused" in report:
            raise OSError(report["refused"])
        self.report = report

    def take_report(self) -> dict[str, Any]:
        """Return the latest report, and make room for the next."""
        report, self.report = self.report, None
        assert report is not None
        return report

    @property
    def has_failed(self) -> bool:
        """Whether the latest report names a step that failed."""
        return self.report is not None and any(step["status"] != 0 for step in self.report["steps"])


def build_work(
    toolchain: Toolchain, lines: tuple[tuple[str, ...], ...], files: dict[str, str], limits: Limits
) -> dict[str, Any]:
    """Return what a job process does: build ``files`` by all steps but the last, then run that one."""
    *building, last = command_lines(toolchain, lines)
    return {
        "files": {name: _encode(text) for name, text in files.items()},
        "environment": _ENVIRONMENT | toolchain.environment,
        "steps": [{"command": line, "limits": asdict(_toolchain_limits(COMPILING))} for line in building],
        "last": {"command": last, "limits": asdict(_toolchain_limits(limits))},
        "built": list(toolchain.built),
    }


def _encode(text: str) -> str:
    return base64.b64encode(text.encode(errors="replace")).decode()


def _toolchain_limits(limits: Limits) -> Limits:
    # V8 and the JVM need threads and memory before the program has its first line.
    enough = max(limits.memory_bytes, 1 << 30)
    return replace(limits, num_threads=NUM_PROCESSES, memory_bytes=enough, file_bytes=SCRATCH_BYTES // 4)
