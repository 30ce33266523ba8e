"""The fork server for compiled languages as its owner sees it: a pass is a nonce that only the last test prints."""

import json
import os
import secrets
import select
import signal
import socket
from dataclasses import asdict, dataclass, replace
from typing import Any

from codeft_eval.sandbox.isolation.namespaces import SCRATCH
from codeft_eval.sandbox.isolation.worker_process import SLACK_SECONDS, SandboxError, ServerProcess
from codeft_eval.sandbox.native.process_tree import memory_of, processes_below
from codeft_eval.sandbox.native.toolchains import COMPILING, NONCE, TOOLCHAINS, command_lines, root_of
from codeft_eval.sandbox.native.worker import NOT_STARTED, NOT_STARTED_MARK, SCRATCH_BYTES
from codeft_eval.sandbox.programs import Limits, Outcome, Program
from codeft_eval.sandbox.python.client import STDERR_BYTES

TIER = "namespaces"
NUM_PROCESSES = 256
_LOOK_SECONDS = 0.1
_SIGKILL, _SIGXCPU = -9, -24
_DEPTH_OF_STEPS = 3
"""Below the process we started: the fork server, its worker, a step."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": SCRATCH, "TMPDIR": SCRATCH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class BoxServer:
    """A running fork server for the programs of one language."""

    tier = TIER

    def __init__(self, language: str) -> None:
        self._toolchain = TOOLCHAINS[language]
        try:
            self._process = ServerProcess("native.worker", json.dumps(asdict(root_of(self._toolchain))))
        except SandboxError as error:
            raise SandboxError(f"the jail for {language} does not start: {error}") from error
        self._control = self._process.control

    def run(self, program: Program, limits: Limits) -> Outcome:
        """Compiles and runs one program.

        Raises:
            SandboxError: the fork server is gone or silent; start another.
        """
        nonce = secrets.token_hex(16)
        own_end, its_end = socket.socketpair()
        with own_end:
            try:
                with its_end:
                    socket.send_fds(self._control, [b"{}"], [its_end.fileno()])
                own_end.sendall(json.dumps(self._job(program, limits, nonce)).encode() + b"\n")
                report, is_too_large = self._await_report(own_end, limits)
            except OSError as error:
                raise SandboxError(f"fork server for {program.language}: {error}") from error
        if "steps" not in report:
            raise SandboxError(f"fork server for {program.language}: {report['refused']}")
        return _outcome(program, report["steps"], nonce, _Ends(limits.cpu_seconds, is_too_large))

    def close(self) -> None:
        """Ends the fork server and everything it forked."""
        self._process.close()

    def _job(self, program: Program, limits: Limits, nonce: str) -> dict[str, Any]:
        text = program.source + "\n" + program.test.replace(NONCE, nonce)
        lines = command_lines(self._toolchain)
        bounds = [*(_workshop(COMPILING) for _ in lines[:-1]), _workshop(limits)]
        return {
            "files": self._toolchain.support() | {self._toolchain.file_name: text},
            "environment": _ENVIRONMENT | self._toolchain.environment,
            "steps": [{"command": line, "limits": asdict(bound)} for line, bound in zip(lines, bounds, strict=True)],
        }

    def _await_report(self, channel: socket.socket, limits: Limits) -> tuple[dict[str, Any], bool]:
        """The worker's report, and whether the program's tree held more memory than it may."""
        data, is_too_large = bytearray(), False
        rest = COMPILING.wall_seconds + limits.wall_seconds + SLACK_SECONDS
        while not data.endswith(b"\n"):
            if select.select([channel], [], [], _LOOK_SECONDS)[0]:
                part = channel.recv(1 << 20)
                if not part:
                    raise OSError("the worker ended without a report")
                data += part
                continue
            rest -= _LOOK_SECONDS
            if rest < 0:
                raise OSError("silent beyond all limits")
            is_too_large |= self._end_if_too_large(max(COMPILING.memory_bytes, limits.memory_bytes))
        self._control.recv(4096)
        return json.loads(data), is_too_large

    def _end_if_too_large(self, memory_bytes: int) -> bool:
        steps = processes_below(self._process.pid, _DEPTH_OF_STEPS)
        if sum(memory_of(pid) for pid in steps) <= memory_bytes:
            return False
        for pid in steps:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return True


def _workshop(limits: Limits) -> Limits:
    # V8 and the JVM need threads and memory before the program has its first line.
    enough = max(limits.memory_bytes, 1 << 30)
    return replace(limits, num_threads=NUM_PROCESSES, memory_bytes=enough, file_bytes=SCRATCH_BYTES // 4)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What may have ended a step besides itself."""

    cpu_seconds: int
    is_too_large: bool


def _outcome(program: Program, steps: list[dict[str, Any]], nonce: str, ends: _Ends) -> Outcome:
    last = steps[-1]
    num_steps = len(TOOLCHAINS[program.language].steps)
    is_passed = len(steps) == num_steps and last["status"] == 0 and nonce in last["output"]
    reason = "passed" if is_passed else _reason(last, ends, is_compiling=len(steps) < num_steps)
    said = (last["errors"] + last["output"]).replace(nonce, "(nonce)")
    return Outcome(
        key=program.key,
        verdict="passed" if is_passed else "unscored" if reason == "jail" else "failed",
        reason=reason,
        detail="" if is_passed else f"step {len(steps)} of {num_steps} ended with status {last['status']}",
        stderr="" if is_passed else said[-STDERR_BYTES:],
        tier=TIER,
        cpu_seconds=sum(step["cpu"] for step in steps),
        wall_seconds=sum(step["wall"] for step in steps),
    )


def _reason(step: dict[str, Any], ends: _Ends, *, is_compiling: bool) -> str:
    allowed = COMPILING.cpu_seconds if is_compiling else ends.cpu_seconds
    causes = {
        "memory": ends.is_too_large,
        "wall_timeout": step["exceeded"],
        # The limit counts clock ticks and is reached somewhat before the precise count.
        "timeout": step["status"] in (_SIGKILL, _SIGXCPU) and step["cpu"] >= 0.6 * allowed,
        "jail": step["status"] == NOT_STARTED and NOT_STARTED_MARK in step["errors"],
        "compile_error": is_compiling,
        "exited": step["status"] == 0,
        "crashed": step["status"] < 0,
        "test_failed": True,
    }
    return next(name for name, holds in causes.items() if holds)
