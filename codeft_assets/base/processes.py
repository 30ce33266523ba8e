"""Worker processes that end with the process that started them."""

from __future__ import annotations

import os
import threading
import time


def die_with_parent(parent_id: int) -> None:
    """Leave no orphan: a killed parent cannot stop its workers, so each watches for it."""

    def watch() -> None:
        while os.getppid() == parent_id:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
