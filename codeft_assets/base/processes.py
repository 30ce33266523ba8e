"""Processes: they end with the process that started them, and leave the machine to others while they wait."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time

TERMINATION_SECONDS = 120
"""A training run that is asked to end saves its state first."""
_SPINS = "10000"
"""Rounds of waiting, about 30 microseconds; libgomp's own are 300,000."""
_PR_SET_PDEATHSIG = 1
_NEW_OBJECTS = 10_000


def collect_rarely() -> None:
    """Let a program collect garbage after 10,000 new objects, not after Python's 700.

    Imports of torch and transformers make objects by the million and no garbage: their collections are a fifth of the
    4 CPU seconds before a model is evaluated.
    """
    gc.set_threshold(_NEW_OBJECTS)


def wait_briefly() -> None:
    """Let OpenMP's threads sleep after a short wait for each other; call it before torch is imported.

    By default one spins for milliseconds, and on a busy machine takes the core that the awaited one needs: on two cores
    beside two busy processes a training is twice as fast with this, and alone as fast as without
    (tests/benchmarks/busy_threads.py). A value of the environment stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def die_with_parent(parent_id: int) -> None:
    """Leave no orphan: a killed parent cannot stop its workers, so each watches for it."""

    def watch() -> None:
        while os.getppid() == parent_id:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the thread that starts this process ends: give it as ``preexec_fn``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
