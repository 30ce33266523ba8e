"""Runs many programs on all cores, each isolated by itself, and returns their grades in order."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from codeft_eval.sandbox.programs import Grade, Limits, Program
from codeft_eval.sandbox.provider import SandboxError, Worker
from codeft_eval.sandbox.selection import provider_for

_log = logging.getLogger(__name__)


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
    ) -> None:
        """Select the isolation level by trying each, unless ``level`` names one.

        Raises:
            SandboxError: no level works here, and ``allow_unsafe`` was not given; only Python programs may run unsafe.
        """
        self.limits = limits or Limits()
        self._provider = provider_for(language)
        self.isolation = self._provider.select_isolation(level, allow_unsafe=allow_unsafe)
        self._threads = ThreadPoolExecutor(num_workers or len(os.sched_getaffinity(0)), "sandbox")
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
        return self._threads.submit(self._run_one, program)

    def gather(self, pending: Iterable[tuple[Program, Future[Grade]]]) -> list[Grade]:
        """Return the grades of submitted programs, in order.

        A program that reached the wall limit without using its CPU seconds is run once more, alone, since a busy
        machine may be the cause.
        """
        submitted = list(pending)
        grades = [future.result() for _, future in submitted]
        for index, grade in enumerate(grades):
            if grade.reason == "wall_timeout":
                second = self._threads.submit(self._run_one, submitted[index][0]).result()
                final = "timeout" if second.reason == "wall_timeout" else second.reason
                grades[index] = replace(second, reason=final, num_runs=2)
        return grades

    def run(self, programs: Iterable[Program]) -> list[Grade]:
        """Return the programs' grades, in order."""
        return self.gather([(program, self.submit(program)) for program in programs])

    def _run_one(self, program: Program) -> Grade:
        try:
            return self._worker().run(program, self.limits)
        except SandboxError as error:
            _log.warning("%s: %s; a new worker runs it again", program.key, error)
            self._discard_worker()
        try:
            return replace(self._worker().run(program, self.limits), num_runs=2)
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
