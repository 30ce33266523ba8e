"""The pool's side of a native worker: the judge's proof is a pass, and nothing that the candidate does or prints."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from codeft_eval.sandbox.isolation.core_time import CoreWatch
from codeft_eval.sandbox.isolation.process_tree import private_memory, processes_below
from codeft_eval.sandbox.isolation.worker_process import SLACK_SECONDS, WorkerProcess
from codeft_eval.sandbox.native.grading import CLOSED, Outcome, grade
from codeft_eval.sandbox.native.job import Job, build_work
from codeft_eval.sandbox.native.judges import BuiltJudges, Judge
from codeft_eval.sandbox.native.sides import candidate_files, judge_files, num_calls
from codeft_eval.sandbox.native.toolchains import COMPILING, TOOLCHAINS
from codeft_eval.sandbox.native.tools import build_root
from codeft_eval.sandbox.programs import Grade, Limits, Program
from codeft_eval.sandbox.provider import SandboxError

_CHECK_SECONDS = 0.1
_LAST_SECONDS = 2.0
_DEPTH_OF_STEPS = 3
"""Generations below the process we started: process 1 of its namespaces, a job process, a step."""


class NativeWorker:
    """A running worker for the programs of one language."""

    def __init__(self, language: str, judges: BuiltJudges) -> None:
        self._toolchain, self._judges = TOOLCHAINS[language], judges
        try:
            self._process = WorkerProcess("native.worker", json.dumps(asdict(build_root(self._toolchain))))
        except SandboxError as error:
            raise SandboxError(f"the worker for {language} does not start: {error}") from error
        self._control = self._process.control

    def run(self, program: Program, limits: Limits) -> Grade:
        """Build and run one program.

        Raises:
            SandboxError: the worker is gone or silent; start another.
        """
        judge = self._judges.find(program)
        watch = CoreWatch(self._process.pid)
        calls = num_calls(self._toolchain, program)
        outcome = Outcome(program=program, limits=limits, nonce=judge.nonce, num_calls=calls, watch=watch)
        try:
            with self._start_jobs() as jobs:
                self._build(jobs, outcome, judge)
                if outcome.is_built:
                    self._run_tests(jobs, outcome)
            self._control.recv(4096)
        except OSError as error:
            raise SandboxError(f"worker for {program.language}: {error}") from error
        return grade(outcome)

    def close(self) -> None:
        """End the worker and everything it forked."""
        self._process.close()

    @contextmanager
    def _start_jobs(self) -> Iterator[dict[str, Job]]:
        pairs = {role: socket.socketpair() for role in ("judge", "candidate")}
        try:
            socket.send_fds(self._control, [b"{}"], [theirs.fileno() for _, theirs in pairs.values()])
            for _, theirs in pairs.values():
                theirs.close()
            yield {role: Job(ours) for role, (ours, _) in pairs.items()}
        finally:
            for ends in pairs.values():
                for end in ends:
                    end.close()

    def _build(self, jobs: dict[str, Job], outcome: Outcome, judge: Judge) -> None:
        toolchain, program = self._toolchain, outcome.program
        work = {
            "candidate": build_work(toolchain, toolchain.steps, candidate_files(toolchain, program), outcome.limits),
            "judge": self._judge_work(outcome, judge),
        }
        for role, job in jobs.items():
            job.begin(work[role])
        self._await(jobs, outcome, lambda: all(job.report for job in jobs.values()) or jobs["candidate"].has_failed)
        reports = {role: job.take_report() for role, job in jobs.items() if job.report}
        outcome.built = {role: report["steps"] for role, report in reports.items()}
        if not judge.files and "judge" in reports:
            self._judges.keep(program, Judge(nonce=judge.nonce, files=reports["judge"].get("built", {})))

    def _judge_work(self, outcome: Outcome, judge: Judge) -> dict[str, Any]:
        toolchain, program = self._toolchain, outcome.program
        steps, files = toolchain.judge_steps or toolchain.steps, judge_files(toolchain, program, outcome.nonce)
        work = build_work(toolchain, steps, files, outcome.limits)
        return work | {"files": judge.files, "steps": []} if judge.files else work

    def _run_tests(self, jobs: dict[str, Job], outcome: Outcome) -> None:
        for job in jobs.values():
            job.run_last_step()
        self._await(jobs, outcome, lambda: jobs["judge"].report is not None)
        if _is_closed(jobs["judge"]):
            # The candidate may be about to end: its pipes close somewhat earlier than it has a status.
            end = time.monotonic() + _LAST_SECONDS
            self._await(jobs, outcome, lambda: jobs["candidate"].report is not None or time.monotonic() >= end)
        jobs["candidate"].stop()
        self._await(jobs, outcome, lambda: jobs["candidate"].report is not None)
        outcome.ran = {role: job.take_report()["steps"][0] for role, job in jobs.items()}

    def _await(self, jobs: dict[str, Job], outcome: Outcome, is_over: Callable[[], bool]) -> None:
        """Read reports until ``is_over``, and end the program where its processes hold too much memory."""
        bound = COMPILING.wall_seconds + outcome.limits.wall_seconds + SLACK_SECONDS
        deadline, next_check = time.monotonic() + bound, time.monotonic() + _CHECK_SECONDS
        while not is_over():
            awaited = {job.channel: job for job in jobs.values() if job.report is None}
            for channel in select.select(awaited, [], [], _CHECK_SECONDS)[0]:
                awaited[channel].receive()
            now = time.monotonic()
            if now >= deadline:
                raise OSError(f"no report after {bound:.0f} s, the wall limits of compiler and program and some slack")
            if now >= next_check:
                next_check = now + _CHECK_SECONDS
                outcome.watch.observe()
                outcome.is_too_large |= self._end_if_too_large(max(COMPILING.memory_bytes, outcome.limits.memory_bytes))

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


def _is_closed(judge: Job) -> bool:
    return judge.report is not None and judge.report["steps"][0]["status"] == CLOSED
