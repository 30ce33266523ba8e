"""asyncio without sockets: an event loop wakes itself by a pipe, since an isolated process may open no socket."""

from __future__ import annotations

import fcntl
import functools
import os
from types import ModuleType
from typing import Any


class _PipeEnd:
    """One end of a pipe with the methods of a socket that an event loop uses."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Not os.set_blocking: it is an ioctl, which an isolated process has not.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)

    def fileno(self) -> int:
        return self._descriptor

    def recv(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def send(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        os.close(self._descriptor)


def adapt_asyncio(asyncio: ModuleType) -> None:
    """Make a loop that wakes itself by a pipe the one of ``asyncio.run``."""

    class PipeEventLoop(asyncio.SelectorEventLoop):
        def _make_self_pipe(self) -> None:
            self._ssock, self._csock = map(_PipeEnd, os.pipe())
            self._internal_fds += 1

    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = PipeEventLoop

    asyncio.set_event_loop_policy(Policy())


@functools.cache
def runner() -> Any:
    """Return the runner of coroutines that the other side awaits: one loop, to which their locks and queues belong."""
    import asyncio  # here, since it would make every fork of the worker larger

    return asyncio.Runner()
