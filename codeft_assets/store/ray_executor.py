"""Units of a stage as tasks of Ray: on this machine, or on the nodes of a cluster.

Invariant: a lost node costs time and nothing else; a unit that cannot end is named. Nodes share the data root and run
the driver's code. Objects of Ray carry arguments and commits, never rows: these go through the store.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xxhash

MAX_TRIES = 3
"""Of a unit that raises or whose worker dies. Without a bound, Marin looped over one bad shard (#4575)."""
SLOW_FACTOR, SLOW_SECONDS = 3, 10
"""A unit that takes so many times its siblings' median, and so long, is begun a second time where a CPU is idle
(MapReduce's backup tasks, OSDI 2004, section 3.6)."""
_LOOK_SECONDS = 1
_OBJECT_STORE_BYTES = 100 * 2**20
"""Of the cluster that this process starts; Ray's own default is 30 % of the memory."""
_CONNECT_SECONDS = 10
_PACKAGES = ("codeft_assets", "codeft_eval", "codeft_training")
_FORMATS = ("numba", "numpy", "polars", "pyarrow")
"""Packages whose version may show in a shard's bytes."""
_log = logging.getLogger(__name__)


class _Call:
    def __init__(self, name: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.name, self.function, self.args = name, function, args
        self.num_failures = 0
        self.begun = 0.0
        """When its last copy was submitted."""
        self.is_copied = False


class _RayExecutor:
    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(run_checked)
        self._waiting: deque[_Call] = deque()
        self._running: dict[Any, _Call] = {}
        self._seconds: list[float] = []

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        self._waiting.append(_Call(name, function, args))

    def as_completed(self) -> Iterator[tuple[str, Any]]:
        try:
            while self._start_waiting():
                yield from self._look()
        except Exception:
            if self._running:  # they commit what they finish
                with interruptible():
                    self._ray.wait(list(self._running), num_returns=len(self._running))
            raise
        except BaseException:  # the run is cancelled
            for reference in self._running:
                self._ray.cancel(reference, force=True)
            raise

    def _look(self) -> Iterator[tuple[str, Any]]:
        with interruptible():
            ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_SECONDS)
        self._copy_stragglers()
        for reference in ended:
            call = self._running.pop(reference)
            try:
                result = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._try_again(call, error)
            else:
                self._seconds.append(time.monotonic() - call.begun)
                self._end_copies(call)
                yield call.name, result

    def _start_waiting(self) -> bool:
        """Keep two calls per CPU in Ray: one runs, the next is there when it ends. False when none is left."""
        while self._waiting and len(self._running) < 2 * self._num_cpus():
            self._begin(self._waiting.popleft())
        return bool(self._running)

    def _num_cpus(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _begin(self, call: _Call) -> None:
        call.begun = time.monotonic()
        task = self._task.options(name=call.name)
        self._running[task.remote(environment_hash(), call.function, *call.args)] = call

    def _copy_stragglers(self) -> None:
        """Begin slow calls a second time on CPUs that have nothing else to do: the first copy that ends counts."""
        if self._waiting or not self._seconds:
            return
        slow = max(SLOW_FACTOR * statistics.median(self._seconds), SLOW_SECONDS)
        for call in list(self._running.values()):
            seconds = time.monotonic() - call.begun
            if seconds > slow and not call.is_copied and len(self._running) < self._num_cpus():
                _log.warning("unit %s takes %.0f s and is begun a second time", call.name, seconds)
                call.is_copied = True
                self._begin(call)

    def _end_copies(self, call: _Call) -> None:
        for reference in [reference for reference, other in self._running.items() if other is call]:
            del self._running[reference]
            self._ray.cancel(reference, force=True)

    def _try_again(self, call: _Call, error: Any) -> None:
        """Queue the call again; a lost node is nobody's fault, everything else is bounded.

        Raises:
            Exception: the call's own, after ``MAX_TRIES``.
            RuntimeError: its worker died in each of ``MAX_TRIES``.
        """
        if call in self._running.values():
            return  # its copy decides
        exceptions = self._ray.exceptions
        node_is_lost = isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError)
        call.num_failures += not node_is_lost
        cause = error.cause if isinstance(error, exceptions.RayTaskError) else None
        first_line = str(cause or error).strip().split("\n")[0]
        if call.num_failures < MAX_TRIES and not isinstance(cause, OtherCodeError):
            _log.warning("unit %s runs again (%d failures): %s", call.name, call.num_failures, first_line)
            self._waiting.append(call)
            return
        if cause is not None:
            raise cause
        raise RuntimeError(
            f"unit {call.name} lost its worker {MAX_TRIES} times, most often for lack of memory ({first_line}); "
            f"finished units are kept: run the asset again on nodes with more memory or with fewer CPUs for Ray to fill"
        ) from error


class OtherCodeError(RuntimeError):
    """A node runs other code than the driver: its results would be stored under the wrong name."""


@contextmanager
def ray_cluster(address: str, workers: int, _num_calls: int) -> Iterator[_RayExecutor]:
    """Run calls as Ray tasks; the connection stays open until this process ends.

    Args:
        address: ``ray`` or ``ray://host:port``.
        workers: CPUs of the cluster that is started where ``ray`` finds none.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """
    yield _RayExecutor(connected_ray(address, workers))


def connected_ray(address: str, workers: int) -> Any:
    """Return Ray, with this process connected to the cluster at the address, or to one that it starts.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: nothing answers there.
    """
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise ValueError(
            f"executor {address!r} needs Ray: in the folder of codeFT "
            f"pip install -e '.[cluster]', or set CODEFT_EXECUTOR to processes"
        ) from error
    if not ray.is_initialized():
        connect(ray, address, workers)
    return ray


def connect(ray: Any, address: str, workers: int) -> None:
    """Connect this process to the cluster at the address, or to one that it starts.

    Raises:
        ConnectionError: nothing answers there.
    """
    if address == "ray":
        address = os.environ.get("RAY_ADDRESS") or "local"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    sizes = {"num_cpus": workers, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        if host and port.isdigit():  # Ray itself waits for minutes
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        with _same_handlers():
            ray.init(address, logging_level=logging.WARNING, **(sizes if address == "local" else {}))
    except OSError as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address!r} ({error}); start one with ray start --head, or correct "
            f"CODEFT_EXECUTOR or RAY_ADDRESS"
        ) from error


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Keep Dagster's handler of SIGTERM, for which Ray puts one that exits: the run would fail, not be cancelled."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let what the handler of a signal raises end a call of Ray's.

    While Ray waits it hands on KeyboardInterrupt and prints and forgets any other error (``check_signals`` in its
    ``_raylet.pyx``), so that of Dagster: a cancelled run would go on.
    """
    raised: list[BaseException] = []
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if is_main}

    def interrupt(number: int, frame: Any) -> None:
        try:
            handlers[number](number, frame)  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)
            raise KeyboardInterrupt from error

    try:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, interrupt)
        yield
    except KeyboardInterrupt:
        raise raised[0] if raised else KeyboardInterrupt from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_checked(driver_environment: str, function: Callable[..., Any], *args: Any) -> Any:
    """Return ``function(*args)``, on a node that runs the driver's code.

    Raises:
        OtherCodeError: it does not.
    """
    if (found := environment_hash()) != driver_environment:
        raise OtherCodeError(
            f"node {os.uname().nodename} has code and packages of hash {found}, the driver {driver_environment}; "
            f"install the same versions of codeft and of {', '.join(_FORMATS)} on both, or use one image"
        )
    return function(*args)


@functools.cache
def environment_hash() -> str:
    """Return 16 hex digits over the source of our packages and the versions of those that write shards."""
    digest = xxhash.xxh3_64(" ".join(f"{name}=={version(name)}" for name in _FORMATS))
    for package in _PACKAGES:
        spec = find_spec(package)
        assert spec is not None, f"{package} is ours"
        assert spec.origin is not None, f"{package} has an __init__.py"
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"\n{package}/{path.relative_to(root).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
