"""Work that halves its micro-batch until it fits the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
_CPU_MESSAGE = "can't allocate memory"  # torch raises a plain RuntimeError when the CPU's allocator fails


def fitting(work: Callable[[int], Result], rows: int, start_anew: Callable[[int], None]) -> tuple[Result, int]:
    """Return what ``work(rows)`` returns and the rows that fitted, halving them each time memory runs out.

    Args:
        work: does all of the batch, at most so many rows at a time.
        rows: how many to try first.
        start_anew: called with the new number before ``work`` begins again from its start.

    Raises:
        OSError: a single row does not fit.
    """
    while True:
        result = _attempt(work, rows)
        if result is not None:
            return result, rows
        if rows == 1:
            raise OSError("a single row does not fit the memory; choose a smaller model or fewer context_tokens")
        rows //= 2
        start_anew(rows)


def _attempt(work: Callable[[int], Result], rows: int) -> Result | None:
    # leaves the frame of the failed attempt, whose tensors fill the memory, before anything is tried again
    try:
        return work(rows)
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as error:
        if _CPU_MESSAGE not in str(error):
            raise
        return None
