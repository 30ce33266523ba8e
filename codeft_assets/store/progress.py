"""Progress of a running stage: a callback after every unit, and a bar in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """Units and rows that a running stage has finished."""

    stage: str
    num_done: int
    num_units: int
    num_skipped: int
    """Units found committed by an earlier run."""
    num_rows: int
    seconds: float


OnProgress = Callable[[StageProgress], None]


class progress_bar:  # noqa: N801  used as a function: `with progress_bar(...) as advance`
    """Calls ``on_progress`` after every unit; draws a bar instead when none is given and stderr is a terminal."""

    def __init__(self, stage: str, num_units: int, on_progress: OnProgress | None) -> None:
        self._stage, self._num_units, self._on_progress = stage, num_units, on_progress
        self._start = time.monotonic()
        self._num_done, self._num_rows, self._num_skipped = 0, 0, 0
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self._num_units, desc=self._stage, unit="unit", leave=False)
        return self._advance

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _advance(self, num_units: int, num_rows: int) -> None:
        if not self._num_done and not num_rows:
            self._num_skipped = num_units
        self._num_done += num_units
        self._num_rows += num_rows
        if self._bar is not None:
            self._bar.update(num_units)
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _progress(self) -> StageProgress:
        return StageProgress(
            stage=self._stage,
            num_done=self._num_done,
            num_units=self._num_units,
            num_skipped=self._num_skipped,
            num_rows=self._num_rows,
            seconds=time.monotonic() - self._start,
        )
