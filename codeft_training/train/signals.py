"""The end of a training process: on SIGTERM after a checkpoint, and with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

GRACE_SECONDS = 60.0
"""Time to save after the parent is gone; then the process leaves the GPU in any case."""


class StopRequest:
    """Set by SIGTERM or SIGINT, or when the parent dies."""

    def __init__(self) -> None:
        self.is_set = False

    def install(self) -> StopRequest:
        """Listen to signals and watch the parent from now on; call it before slow imports."""
        signal.signal(signal.SIGTERM, self._set)
        signal.signal(signal.SIGINT, self._set)
        threading.Thread(target=self._watch, args=(os.getppid(),), daemon=True).start()
        return self

    def _set(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.is_set = True

    def _watch(self, parent_id: int) -> None:
        # PR_SET_PDEATHSIG follows the parent's thread, not its process; polling follows the process
        while os.getppid() == parent_id:
            time.sleep(0.5)
        self.is_set = True
        time.sleep(GRACE_SECONDS)
        os._exit(1)
