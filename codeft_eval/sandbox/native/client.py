"""The pool's side of a native worker: a pass is a nonce that only the last line of the test prints."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
from dataclasses import asdict, dataclass, replace
from typing import Any

from codeft_eval.sandbox.isolation.levels import NAMESPACES
from codeft_eval.sandbox.isolation.namespaces import SCRATCH
from codeft_eval.sandbox.isolation.worker_process import SLACK_SECONDS, WorkerProcess
from codeft_eval.sandbox.native.process_tree import private_memory, processes_below
from codeft_eval.sandbox.native.toolchains import COMPILING, NONCE, TOOLCHAINS, build_root, command_lines
from codeft_eval.sandbox.native.worker import SCRATCH_BYTES
from codeft_eval.sandbox.programs import NOT_ISOLATED, STDERR_BYTES, Grade, Limits, Program
from codeft_eval.sandbox.provider import SandboxError

NUM_PROCESSES = 256
_MEMORY_CHECK_SECONDS = 0.1
_SIGKILL, _SIGXCPU = -9, -24
_DEPTH_OF_STEPS = 3
"""Generations below the process we started: process 1 of its namespaces, the process of a program, a step."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": SCRATCH, "TMPDIR": SCRATCH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class NativeWorker:
    """A running worker for the programs of one language."""

    def __init__(self, language: str) -> None:
        self._toolchain = TOOLCHAINS[language]
        try:
            self._process = WorkerProcess("native.worker", json.dumps(asdict(build_root(self._toolchain))))
        except SandboxError as error:
            raise SandboxError(f"the worker for {language} does not start: {error}") from error
        self._control = self._process.control

    def run(self, program: Program, limits: Limits) -> Grade:
        """Compile and run one program.

        Raises:
            SandboxError: the worker is gone or silent; start another.
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
                raise SandboxError(f"worker for {program.language}: {error}") from error
        if "steps" not in report:
            raise SandboxError(f"worker for {program.language}: {report['refused']}")
        return _grade(program, report["steps"], nonce, KillCauses(limits.cpu_seconds, is_too_large))

    def close(self) -> None:
        """End the worker and everything it forked."""
        self._process.close()

    def _job(self, program: Program, limits: Limits, nonce: str) -> dict[str, Any]:
        text = program.source + "\n" + program.test.replace(NONCE, nonce)
        lines = command_lines(self._toolchain)
        bounds = [*(_toolchain_limits(COMPILING) for _ in lines[:-1]), _toolchain_limits(limits)]
        return {
            "files": self._toolchain.support() | {self._toolchain.file_name: text},
            "environment": _ENVIRONMENT | self._toolchain.environment,
            "steps": [{"command": line, "limits": asdict(bound)} for line, bound in zip(lines, bounds, strict=True)],
        }

    def _await_report(self, channel: socket.socket, limits: Limits) -> tuple[dict[str, Any], bool]:
        """Return the report, and whether the program's tree of processes exceeded its memory."""
        data, is_too_large = bytearray(), False
        rest = bound = COMPILING.wall_seconds + limits.wall_seconds + SLACK_SECONDS
        while not data.endswith(b"\n"):
            if select.select([channel], [], [], _MEMORY_CHECK_SECONDS)[0]:
                part = channel.recv(1 << 20)
                if not part:
                    raise OSError("the process of the program ended without a report")
                data += part
                continue
            rest -= _MEMORY_CHECK_SECONDS
            if rest < 0:
                raise OSError(f"no report after {bound:.0f} s, the wall limits of compiler and program and some slack")
            is_too_large |= self._end_if_too_large(max(COMPILING.memory_bytes, limits.memory_bytes))
        self._control.recv(4096)
        return json.loads(data), is_too_large

    def _end_if_too_large(self, memory_bytes: int) -> bool:
        steps = processes_below(self._process.pid, _DEPTH_OF_STEPS)
        if sum(private_memory(pid) for pid in steps) <= memory_bytes:
            return False
        for pid in steps:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return True


def _toolchain_limits(limits: Limits) -> Limits:
    # V8 and the JVM need threads and memory before the program has its first line.
    enough = max(limits.memory_bytes, 1 << 30)
    return replace(limits, num_threads=NUM_PROCESSES, memory_bytes=enough, file_bytes=SCRATCH_BYTES // 4)


@dataclass(frozen=True, slots=True)
class KillCauses:
    """Causes that may have ended a step from outside."""

    cpu_seconds: int
    is_too_large: bool


def _grade(program: Program, steps: list[dict[str, Any]], nonce: str, kills: KillCauses) -> Grade:
    last = steps[-1]
    num_steps = len(TOOLCHAINS[program.language].steps)
    is_passed = len(steps) == num_steps and last["status"] == 0 and nonce in last["output"]
    reason = "passed" if is_passed else _reason(last, kills, is_compiling=len(steps) < num_steps)
    detail = f"step {len(steps)} of {num_steps} ended with status {last['status']}"
    streams = (last["errors"] + last["output"]).replace(nonce, "(nonce)")
    return Grade(
        key=program.key,
        verdict="passed" if is_passed else "unscored" if reason == NOT_ISOLATED else "failed",
        reason=reason,
        detail="" if is_passed else f"{detail}: {last['refused']}" if last["refused"] else detail,
        stderr="" if is_passed else streams[-STDERR_BYTES:],
        isolation=NAMESPACES,
        cpu_seconds=sum(step["cpu"] for step in steps),
        wall_seconds=sum(step["wall"] for step in steps),
    )


def _reason(step: dict[str, Any], kills: KillCauses, *, is_compiling: bool) -> str:
    allowed = COMPILING.cpu_seconds if is_compiling else kills.cpu_seconds
    causes = {
        "memory": kills.is_too_large,
        "wall_timeout": step["exceeded"],
        # The limit counts clock ticks and is reached somewhat before the precise count.
        "timeout": step["status"] in (_SIGKILL, _SIGXCPU) and step["cpu"] >= 0.6 * allowed,
        NOT_ISOLATED: step["refused"] != "",
        "compile_error": is_compiling,
        "exited": step["status"] == 0,
        "crashed": step["status"] < 0,
        "test_failed": True,
    }
    return next(name for name, holds in causes.items() if holds)
