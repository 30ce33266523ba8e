"""Where the units of a stage run: in this process, in a pool of processes, or on a Ray cluster.

Invariant: an executor decides where calls run and in which order they end, never what they return. Whatever is lost
on the way, a call that has ended has committed its unit, and running it twice changes nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol

from codeft_assets.base.processes import die_with_parent
from codeft_assets.store.ray_executor import ray_cluster


class Executor(Protocol):
    """Runs calls."""

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` as soon as there is room for it; no two calls have the same name."""
        ...

    def as_completed(self) -> Iterator[tuple[str, Any]]:
        """Yield the name and the result of every submitted call as it ends.

        Raises:
            RuntimeError: the processes that ran a call were killed.
            Exception: of the first call that failed; calls that were running are finished, others never begin.
        """
        ...


StartExecutor = Callable[[int], AbstractContextManager[Executor]]
"""Opens an executor for a number of calls."""
NAMES = ("local", "processes", "ray", "ray://host:port")


def find_executor(name: str, workers: int) -> StartExecutor:
    """Return the executor of a name.

    Args:
        name: ``local``, ``processes``, ``ray`` (the cluster at RAY_ADDRESS; without it, one that this process starts on
            this machine), or ``ray://host:port`` (a cluster's client server).
        workers: Processes on this machine; a cluster uses all its CPUs.

    Raises:
        ValueError: there is no executor of this name.
    """
    if name == "local":
        return in_process
    if name == "processes":
        return partial(process_pool, workers)
    if name == "ray" or name.startswith("ray://"):
        return partial(ray_cluster, name, workers)
    raise ValueError(f"executor {name!r} is not one of {', '.join(NAMES)}; set CODEFT_EXECUTOR to one of them")


class _InProcess:
    def __init__(self) -> None:
        self._calls: deque[tuple[str, Callable[[], Any]]] = deque()

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        self._calls.append((name, partial(function, *args)))

    def as_completed(self) -> Iterator[tuple[str, Any]]:
        while self._calls:
            name, call = self._calls.popleft()
            yield name, call()


class _ProcessPool:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self._names: dict[Future[Any], str] = {}

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        self._names[self._pool.submit(function, *args)] = name

    def as_completed(self) -> Iterator[tuple[str, Any]]:
        try:
            for future in as_completed(self._names):
                yield self._names[future], future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a worker process was killed from outside, most often for lack of memory; finished units are kept: "
                "run the asset again, with fewer workers (CODEFT_WORKERS) if it was memory"
            ) from error


@contextmanager
def in_process(_num_calls: int) -> Iterator[Executor]:
    """Run calls one after another in this process."""
    yield _InProcess()


@contextmanager
def process_pool(workers: int, num_calls: int) -> Iterator[Executor]:
    """Run calls in at most ``workers`` processes; in this one where a second costs more than it saves."""
    workers = min(workers, num_calls)
    if workers <= 1:
        yield _InProcess()
        return
    # spawn: forking a process that holds polars' or Arrow's threads can deadlock
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=die_with_parent, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield _ProcessPool(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
