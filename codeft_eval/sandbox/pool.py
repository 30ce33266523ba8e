"""Runs many programs on all cores, each isolated by itself, and returns their grades in order."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from codeft_eval.sandbox.isolation.core_time import Cores
from codeft_eval.sandbox.programs import SLEPT, STARVED, Grade, Limits, Program
from codeft_eval.sandbox.provider import SandboxError, Worker
from codeft_eval.sandbox.selection import provider_for

_log = logging.getLogger(__name__)
_PATIENT_FACTOR = 8
"""More wall time for a program that waited for a core: with 16 spinning processes on two cores it gets a ninth."""
_QUIET_SECONDS = 60.0
"""Waited for a quiet machine, over all programs of one ``gather``."""


class Sandbox:
    """A pool of warm workers for one language; use it as a context manager."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        level: str | None = None,
        allow_unsafe: bool = False,
        num_workers: int | None = None,
        language: str = "python",
        libraries: Sequence[str] = (),
    ) -> None:
        """Select the isolation level by trying each, unless ``level`` names one.

        Programs import the standard library and ``libraries``: installed ones, as ``numpy`` or ``numpy==2.4.6``.

        Raises:
            SandboxError: no level works here, and ``allow_unsafe`` was not given; only Python programs may run unsafe.
        """
        self.limits = limits or Limits()
        self._provider = provider_for(language, libraries)
        self.isolation = self._provider.select_isolation(level, allow_unsafe=allow_unsafe)
        self.tool_versions = self._provider.tool_versions()
        self._threads = ThreadPoolExecutor(num_workers or len(os.sched_getaffinity(0)), "sandbox")
        self._cores = Cores()
        self._local = threading.local()
        self._workers: list[Worker] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def submit(self, program: Program) -> Future[Grade]:
        """Run a program as soon as a core is free; its grade is final only after ``gather``."""
        return self._threads.submit(self._run_one, program, self.limits)

    def gather(self, pending: Iterable[tuple[Program, Future[Grade]]]) -> list[Grade]:
        """Return the grades of submitted programs, in order.

        A program that reached the wall limit is run again, alone: once if it slept; if it waited for a core, when the
        machine is quieter, and with more time.
        """
        submitted = list(pending)
        grades = [future.result() for _, future in submitted]
        patience = _QUIET_SECONDS
        for index, grade in enumerate(grades):
            if grade.reason in (SLEPT, STARVED):
                began = time.monotonic()
                grades[index] = self._run_alone(submitted[index][0], grade, patience)
                patience = max(0.0, patience - (time.monotonic() - began))
        return grades

    def run(self, programs: Iterable[Program]) -> list[Grade]:
        """Return the programs' grades, in order."""
        return self.gather([(program, self.submit(program)) for program in programs])

    def _run_alone(self, program: Program, first: Grade, patience: float) -> Grade:
        """Return the grade of another run; a program is late by itself if it slept, or if the machine was quiet."""
        is_starved = first.reason == STARVED
        was_quiet = is_starved and self._cores.await_quiet(patience)
        factor = _PATIENT_FACTOR if is_starved else 1
        limits = replace(self.limits, wall_seconds=factor * self.limits.wall_seconds)
        second = replace(self._threads.submit(self._run_one, program, limits).result(), num_runs=2)
        is_late = second.reason == SLEPT or (second.reason == STARVED and was_quiet and self._cores.are_quiet())
        return replace(second, verdict="failed", reason="timeout") if is_late else second

    def _run_one(self, program: Program, limits: Limits) -> Grade:
        try:
            return self._worker().run(program, limits)
        except SandboxError as error:
            _log.warning("%s: %s; a new worker runs it again", program.key, error)
            self._discard_worker()
        try:
            return replace(self._worker().run(program, limits), num_runs=2)
        except SandboxError as error:
            self._discard_worker()
            return Grade(
                key=program.key,
                verdict="unscored",
                reason="sandbox",
                detail=str(error),
                isolation=self.isolation.level,
            )

    def _worker(self) -> Worker:
        """Return the calling thread's own worker."""
        worker = getattr(self._local, "worker", None)
        if worker is None:
            worker = self._local.worker = self._provider.start_worker(self.isolation)
            with self._lock:
                self._workers.append(worker)
        return worker

    def _discard_worker(self) -> None:
        worker = self._local.__dict__.pop("worker", None)
        if worker is not None:
            with self._lock:
                self._workers.remove(worker)
            worker.close()
