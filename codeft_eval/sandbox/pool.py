"""Runs many programs on all cores, each in a jail of its own, and gives their outcomes in order."""

import logging
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from codeft_eval.sandbox.isolation.worker_process import SandboxError
from codeft_eval.sandbox.native.client import BoxServer
from codeft_eval.sandbox.programs import Confinement, Limits, Outcome, Program
from codeft_eval.sandbox.python.client import ForkServer
from codeft_eval.sandbox.selection import choose_box, choose_tier

logger = logging.getLogger(__name__)


class Server(Protocol):
    """Something that runs one program at a time in a jail of its own."""

    def run(self, program: Program, limits: Limits) -> Outcome:
        """The program's outcome."""
        ...

    def close(self) -> None:
        """Ends the server and everything it started."""
        ...


class Sandbox:
    """A pool of warm fork servers; use it as a context manager."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        tier: str | None = None,
        allow_unsafe: bool = False,
        num_workers: int | None = None,
        language: str = "python",
    ) -> None:
        """Chooses the tier by a probe unless one is named.

        Raises:
            SandboxError: no jail works here, and `allow_unsafe` was not given; it is of no use for other languages.
        """
        self.limits = limits or Limits()
        self._language = language
        self.confinement: Confinement = (
            choose_tier(tier, allow_unsafe=allow_unsafe) if language == "python" else choose_box(language, tier)
        )
        self._threads = ThreadPoolExecutor(num_workers or len(os.sched_getaffinity(0)), "sandbox")
        self._local = threading.local()
        self._servers: list[Server] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        for server in self._servers:
            server.close()

    def submit(self, program: Program) -> "Future[Outcome]":
        """Runs a program as soon as a core is free; give the future to `settle` before it counts."""
        return self._threads.submit(self._run_one, program)

    def settle(self, pending: Iterable[tuple[Program, "Future[Outcome]"]]) -> list[Outcome]:
        """The outcomes of submitted programs, in order.

        A program that reached the wall limit without using its CPU seconds is run once more, alone, since a busy
        machine may be the cause.
        """
        waiting = list(pending)
        outcomes = [future.result() for _, future in waiting]
        for index, outcome in enumerate(outcomes):
            if outcome.reason == "wall_timeout":
                again = self._threads.submit(self._run_one, waiting[index][0]).result()
                final = "timeout" if again.reason == "wall_timeout" else again.reason
                outcomes[index] = replace(again, reason=final, num_runs=2)
        return outcomes

    def run(self, programs: Iterable[Program]) -> list[Outcome]:
        """The programs' outcomes, in order."""
        return self.settle([(program, self.submit(program)) for program in programs])

    def _run_one(self, program: Program) -> Outcome:
        try:
            return self._server().run(program, self.limits)
        except SandboxError as error:
            logger.warning("%s: %s; a new fork server runs it again", program.key, error)
            self._discard_server()
        try:
            return replace(self._server().run(program, self.limits), num_runs=2)
        except SandboxError as error:
            self._discard_server()
            return Outcome(
                key=program.key, verdict="unscored", reason="sandbox", detail=str(error), tier=self.confinement.tier
            )

    def _start(self) -> Server:
        return ForkServer(self.confinement.tier) if self._language == "python" else BoxServer(self._language)

    def _server(self) -> Server:
        server = getattr(self._local, "server", None)
        if server is None:
            server = self._local.server = self._start()
            with self._lock:
                self._servers.append(server)
        return server

    def _discard_server(self) -> None:
        server = self._local.__dict__.pop("server", None)
        if server is not None:
            with self._lock:
                self._servers.remove(server)
            server.close()
