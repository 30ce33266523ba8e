"""Python's garbage collection, switched off while a model trains."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Run a block without collections: each walks every object of torch and transformers, and none is garbage.

    What is frozen before stays frozen.
    """
    gc.collect()
    is_frozen = gc.get_freeze_count() > 0
    if not is_frozen:
        gc.freeze()  # for what collects inside the block by itself
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if not is_frozen:
            gc.unfreeze()
