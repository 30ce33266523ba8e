"""``multiprocessing`` on threads, as the standard library's own ``multiprocessing.dummy``: no program starts a process.

A pool's results are the same; what differs is that its workers share the program's memory, and one core.
"""

from __future__ import annotations

import importlib
import threading
from types import ModuleType, SimpleNamespace
from typing import Any


def adapt_multiprocessing(package: ModuleType) -> None:
    """Put threads in the place of processes."""
    dummy, pool, queues = (importlib.import_module(f"multiprocessing.{name}") for name in ("dummy", "pool", "queues"))
    replacements = {name: getattr(dummy, name) for name in (*dummy.__all__, "Value", "Array")}
    # A pool of threads asks its context for one queue, whose locks would be semaphores of the system.
    context = SimpleNamespace(SimpleQueue=lambda: queues.SimpleQueue(ctx=threading))
    vars(pool)["get_context"] = lambda: context
    replacements |= {"get_context": lambda method=None: package, "set_start_method": lambda method, force=False: None}
    vars(package).update(replacements)


def adapt_futures(futures: ModuleType) -> None:
    """Make a ``ProcessPoolExecutor`` one of threads; what is said of processes alone is ignored."""

    class ProcessPoolExecutor(futures.ThreadPoolExecutor):
        def __init__(
            self,
            max_workers: Any = None,
            mp_context: Any = None,
            initializer: Any = None,
            initargs: tuple = (),
            **_: Any,
        ) -> None:
            super().__init__(max_workers, initializer=initializer, initargs=initargs)

    vars(futures)["ProcessPoolExecutor"] = ProcessPoolExecutor
