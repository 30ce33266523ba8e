"""Work that halves its micro-batch until it fits the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from codeft_assets.base.report import out_of_memory

Result = TypeVar("Result")


def retry_with_smaller_batch(
    work: Callable[[int], Result], rows: int, on_retry: Callable[[int], None]
) -> tuple[Result, int]:
    """Return the result of ``work(rows)`` and the rows that fitted, halving them each time memory runs out.

    Args:
        work: Does all of the batch, at most so many rows at a time.
        rows: Rows of the first attempt.
        on_retry: Called with the new number of rows before ``work`` begins again from its start.

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
        on_retry(rows)


def retry_line(rows: int) -> str:
    """Return the log line of a retry."""
    return f"out of memory: {rows} rows a micro-batch from here on, the global batch stays"


def _attempt(work: Callable[[int], Result], rows: int) -> Result | None:
    # leaves the frame of the failed attempt, whose tensors fill the memory, before anything is tried again
    try:
        return work(rows)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return None
