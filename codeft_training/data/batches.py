"""What each step reads: a pure function of the recipe and the step, the same however many processes share it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipes import Recipe

NOT_IN_LOSS = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one step as arrays ``[rows, context]``."""

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    """The token after each token, or -100 where that is not trained on."""
    documents: npt.NDArray[np.int32] | None
    """A number for each token that is the same within a piece of a document; None when attention does not ask."""


class Batches:
    """The training rows in the order of a run."""

    def __init__(self, packed: PackedRows, recipe: Recipe) -> None:
        self._tokens, self._in_loss = packed.tokens("train"), packed.in_loss("train")
        self._rows_per_step = recipe.batch_rows * recipe.accumulation_steps
        self._order = packed.order(recipe.seed)
        self._starts = packed.starts("train") if recipe.attention == "documents" else None

    def annealing_begin(self, num_steps: int, step: int = 0) -> int:
        """Return at which row of a run of ``num_steps`` the annealing phase begins, not before ``step``."""
        return max(self._order.annealing_begin(num_steps * self._rows_per_step), step * self._rows_per_step)

    def rows(self, step: int, annealing_begin: int) -> npt.NDArray[np.int64]:
        """Return the numbers of all rows of a step."""
        return self._order.rows(step * self._rows_per_step, (step + 1) * self._rows_per_step, annealing_begin)

    def num_labels(self, rows: npt.NDArray[np.int64]) -> int:
        """Return how many tokens of these rows are trained on."""
        return int(self._in_loss[rows, 1:].sum(dtype=np.int64))

    def micro_batches(self, rows: npt.NDArray[np.int64], size: int) -> list[Batch]:
        """Return ``rows`` as arrays, at most ``size`` at a time."""
        return [self._batch(rows[start : start + size]) for start in range(0, len(rows), size)]

    def _batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        ids = self._tokens[rows].astype(np.int64)
        labels = np.full_like(ids, NOT_IN_LOSS)
        labels[:, :-1] = np.where(self._in_loss[rows, 1:] == 1, ids[:, 1:], NOT_IN_LOSS)
        documents = None if self._starts is None else np.cumsum(self._starts[rows], axis=1, dtype=np.int32)
        return Batch(ids, labels, documents)


@dataclass(frozen=True, slots=True)
class Step:
    """What one process reads in one step."""

    num_labels: int
    """Of the whole step, all processes together."""
    micro_batches: list[Batch]


class Feed:
    """Prepares the next step while the device works on this one."""

    def __init__(self, batches: Batches, share: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]) -> None:
        self._batches, self._share = batches, share
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")
        self._next: dict[tuple[int, int, int], Future[Step]] = {}

    def take(self, step: int, size: int, annealing_begin: int) -> Step:
        """Return a step's micro-batches of at most ``size`` rows."""
        ready = self._next.pop((step, size, annealing_begin), None)
        following = (step + 1, size, annealing_begin)
        self._next = {following: self._pool.submit(self._prepare, *following)}
        return ready.result() if ready else self._prepare(step, size, annealing_begin)

    def _prepare(self, step: int, size: int, annealing_begin: int) -> Step:
        rows = self._batches.rows(step, annealing_begin)
        return Step(self._batches.num_labels(rows), self._batches.micro_batches(self._share(rows), size))
