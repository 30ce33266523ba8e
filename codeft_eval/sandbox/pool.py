"""Runs many programs on all cores, each in a jail of its own, and gives their outcomes in order."""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from codeft_eval.sandbox.probe import choose_tier
from codeft_eval.sandbox.programs import Confinement, Limits, Outcome, Program
from codeft_eval.sandbox.server import ForkServer, SandboxError

logger = logging.getLogger(__name__)


class Sandbox:
    """A pool of warm fork servers; use it as a context manager."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        tier: str | None = None,
        allow_unsafe: bool = False,
        num_workers: int | None = None,
    ) -> None:
        """Chooses the tier by a probe unless one is named.

        Raises:
            SandboxError: no jail works here, and `allow_unsafe` was not given.
        """
        self.limits = limits or Limits()
        self.confinement: Confinement = choose_tier(tier, allow_unsafe=allow_unsafe)
        self._threads = ThreadPoolExecutor(num_workers or len(os.sched_getaffinity(0)), "sandbox")
        self._local = threading.local()
        self._servers: list[ForkServer] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        for server in self._servers:
            server.close()

    def run(self, programs: Iterable[Program], progress: Callable[[int], None] | None = None) -> list[Outcome]:
        """The programs' outcomes, in order.

        A program that reached the wall limit without using its CPU seconds is run once more, alone, since a busy
        machine may be the cause.
        """
        waiting = list(programs)
        outcomes: list[Outcome] = []
        for outcome in self._threads.map(self._run_one, waiting):
            outcomes.append(outcome)
            if progress:
                progress(len(outcomes))
        for index, outcome in enumerate(outcomes):
            if outcome.reason == "wall_timeout":
                again = self._threads.submit(self._run_one, waiting[index]).result()
                final = "timeout" if again.reason == "wall_timeout" else again.reason
                outcomes[index] = replace(again, reason=final, num_runs=2)
        return outcomes

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

    def _server(self) -> ForkServer:
        server = getattr(self._local, "server", None)
        if server is None:
            server = self._local.server = ForkServer(self.confinement.tier)
            with self._lock:
                self._servers.append(server)
        return server

    def _discard_server(self) -> None:
        server = self._local.__dict__.pop("server", None)
        if server is not None:
            with self._lock:
                self._servers.remove(server)
            server.close()
