"""Processes that end with the process that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

TERMINATION_SECONDS = 120
"""A training run that is asked to end saves its state first."""
_PR_SET_PDEATHSIG = 1


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
