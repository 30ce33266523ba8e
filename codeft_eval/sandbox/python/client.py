"""The pool's side of a Python worker: start it, send it a program, collect the verdict, end it."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from dataclasses import asdict, replace
from typing import Any

from codeft_eval.sandbox.isolation.core_time import TICK_SECONDS, CoreWatch
from codeft_eval.sandbox.isolation.worker_process import SLACK_SECONDS, WorkerProcess
from codeft_eval.sandbox.programs import SLEPT, STARVED, STDERR_BYTES, Grade, Limits, Program, Verdict
from codeft_eval.sandbox.provider import SandboxError
from codeft_eval.sandbox.python.assertions import counted_assertions
from codeft_eval.sandbox.python.global_names import global_names
from codeft_eval.sandbox.python.libraries import NO_LIBRARIES, Libraries
from codeft_eval.sandbox.python.worker import OUT_OF_MEMORY

_SIGXCPU, _SIGKILL = -24, -9


class PythonWorker:
    """A running worker at one isolation level."""

    def __init__(self, level: str, libraries: Libraries = NO_LIBRARIES) -> None:
        self.level = level
        try:
            configuration = json.dumps({"level": level, "libraries": asdict(libraries)})
            self._process = WorkerProcess("python.worker", configuration)
        except SandboxError as error:
            raise SandboxError(f"isolation level {level!r} does not start: {error}") from error
        self._control = self._process.control

    def run(self, program: Program, limits: Limits) -> Grade:
        """Run one program to its verdict.

        Raises:
            SandboxError: the worker is gone or silent; start another.
        """
        watch = CoreWatch(self._process.pid)
        own_end, judge_end = socket.socketpair()
        stderr_read, stderr_write = os.pipe()
        try:
            own_end.settimeout(limits.wall_seconds + SLACK_SECONDS)
            socket.send_fds(self._control, [json.dumps(asdict(limits)).encode()], [judge_end.fileno(), stderr_write])
            judge_end.close()
            os.close(stderr_write)
            stderr_write = -1
            _send_job(own_end, program)
            collected = self._collect(own_end, stderr_read, limits.wall_seconds + SLACK_SECONDS, watch)
        except OSError as error:
            raise SandboxError(f"{self._described}: {error}") from error
        finally:
            own_end.close()
            judge_end.close()
            os.close(stderr_read)
            if stderr_write >= 0:
                os.close(stderr_write)
        return _mark_starved(_grade(program, limits, self.level, *collected), watch)

    def close(self) -> None:
        """End the worker and everything it forked."""
        self._process.close()

    @property
    def _described(self) -> str:
        return f"Python worker at isolation level {self.level!r}"

    def _collect(
        self, judge: socket.socket, stderr: int, seconds: float, watch: CoreWatch
    ) -> tuple[bytes, bytes, dict[str, Any]]:
        """Read the judge's verdict and the candidate's stderr until the worker reports that both processes are gone."""
        parts: dict[str, bytearray] = {"verdict": bytearray(), "stderr": bytearray()}
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ, "report")
            selector.register(judge, selectors.EVENT_READ, "verdict")
            selector.register(stderr, selectors.EVENT_READ, "stderr")
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                events = selector.select(TICK_SECONDS)
                watch.observe()
                ready = {key.data: key.fd for key, _ in events}
                for name in sorted(ready.keys() & parts.keys()):
                    data = os.read(ready[name], 65536)
                    parts[name] += data[: max(0, 65536 - len(parts[name]))]
                    if not data:
                        selector.unregister(ready[name])
                if ready.keys() == {"report"}:
                    report = self._control.recv(4096)
                    if not report:
                        raise SandboxError(f"{self._described} ended")
                    return bytes(parts["verdict"]), bytes(parts["stderr"]), json.loads(report)
        raise SandboxError(f"{self._described} sent nothing for {seconds:.0f} s")


def _send_job(channel: socket.socket, program: Program) -> None:
    job: dict[str, Any] = {name: getattr(program, name) for name in ("source", "entry_point", "prelude")}
    job["names"] = global_names(program.test)
    job["test"], job["assertions"] = counted_assertions(program.test)
    try:
        channel.sendall(json.dumps(job).encode() + b"\n")
    except BrokenPipeError:
        return  # the judge has ended; the worker's report has its exit status


def _grade(
    program: Program, limits: Limits, level: str, verdict: bytes, stderr: bytes, report: dict[str, Any]
) -> Grade:
    line = json.loads(verdict) if verdict.endswith(b"\n") else _verdict_without_judge(report)
    exhausted = _exhausted(report, limits)
    if line["verdict"] == "failed" and exhausted:
        line = {"verdict": "failed", "reason": "timeout", "detail": exhausted}
    if line["reason"] == "exited" and report["candidate"]["status"] not in (0, _SIGKILL):
        line |= {"reason": "crashed" if report["candidate"]["status"] < 0 else "exited"}
        line |= {"detail": f"the program ended with status {report['candidate']['status']}"}
    verdicts: dict[str, Verdict] = {"passed": "passed", "failed": "failed", "unscored": "unscored"}
    return Grade(
        key=program.key,
        verdict=verdicts[line["verdict"]],
        reason=line["reason"],
        detail=line["detail"],
        stderr=stderr[-STDERR_BYTES:].decode(errors="replace"),
        isolation=level,
        cpu_seconds=report["candidate"]["cpu"] + report["judge"]["cpu"],
        wall_seconds=report["wall"]["seconds"],
    )


def _mark_starved(grade: Grade, watch: CoreWatch) -> Grade:
    starvation = watch.starvation(grade.cpu_seconds) if grade.reason == SLEPT else ""
    return replace(grade, verdict="unscored", reason=STARVED, detail=starvation) if starvation else grade


def _exhausted(report: dict[str, Any], limits: Limits) -> str:
    """Return which process used up its CPU seconds, or nothing."""
    for role in ("candidate", "judge"):
        spent, status = report[role]["cpu"], report[role]["status"]
        # The limit counts clock ticks and is reached somewhat before or after the precise count.
        is_near = spent >= 0.6 * limits.cpu_seconds and status in (_SIGXCPU, _SIGKILL)
        if is_near or spent >= limits.cpu_seconds:
            return f"{role} used {spent:.1f} s of CPU; the limit is {limits.cpu_seconds} s"
    return ""


def _verdict_without_judge(report: dict[str, Any]) -> dict[str, str]:
    """Return the verdict where the judge sent none: the answers were too large for it, or it failed by itself."""
    status = report["judge"]["status"]
    if report["wall"]["exceeded"]:
        return {
            "verdict": "failed",
            "reason": SLEPT,
            "detail": f"no end after {report['wall']['seconds']:.0f} s",
        }
    if status in (_SIGXCPU, _SIGKILL):
        return {"verdict": "failed", "reason": "timeout", "detail": "comparing the answers took too long"}
    if status == OUT_OF_MEMORY:
        return {"verdict": "failed", "reason": "memory", "detail": "the answers do not fit in memory"}
    return {"verdict": "unscored", "reason": "judge", "detail": f"the judge ended with status {status}"}
