"""The batches of each step: a pure function of recipe and step, independent of the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipe_groups import DataConfig
from codeft_training.recipe_stages import Stage

IGNORE_INDEX = -100
"""Label of a token that is not in the loss (``torch.nn.functional.cross_entropy``'s default)."""


def document_positions(starts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the position of each token in its piece of a document, from ``PackedRows.starts``; same shape."""
    position = np.arange(starts.shape[1])
    return position - np.maximum.accumulate(np.where(starts, position, 0), axis=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one step as arrays ``[rows, context]``."""

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    """The token after each token, or -100 where that is not trained on."""
    documents: npt.NDArray[np.int32] | None
    """A number for each token that is the same within a piece of a document; None for plain causal attention."""


class Batches:
    """The training rows in the order of a run."""

    def __init__(
        self, packed: PackedRows, data: DataConfig, stages: Sequence[Stage] = (), *, with_documents: bool = False
    ) -> None:
        self._tokens, self._loss_mask = packed.tokens("train"), packed.loss_mask("train")
        self._rows_per_step = data.rows_per_step
        self._order = packed.order(data.seed, stages)
        self._starts = packed.starts("train") if with_documents else None

    def phase_begins(
        self, stage_begins: Sequence[int], last_step: int, *, step: int = 0, before: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        """Return at which row of the run each of its phases begins.

        Args:
            stage_begins: The first step of each stage.
            last_step: Steps of the run.
            step: The next step: phases that have begun stay where they are.
            before: What was returned for an earlier step.
        """
        size = self._rows_per_step
        begins = tuple(begin * size for begin in stage_begins)
        return self._order.phase_begins(begins, last_step * size, position=step * size, before=before)

    def rows(self, step: int, phase_begins: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return the numbers of all rows of a step."""
        return self._order.rows(step * self._rows_per_step, (step + 1) * self._rows_per_step, phase_begins)

    def num_labels(self, rows: npt.NDArray[np.int64]) -> int:
        """Return how many tokens of these rows are trained on."""
        return int(self._loss_mask[rows, 1:].sum(dtype=np.int64))

    def micro_batches(self, rows: npt.NDArray[np.int64], size: int) -> list[Batch]:
        """Return ``rows`` as arrays, at most ``size`` at a time."""
        return [self._batch(rows[start : start + size]) for start in range(0, len(rows), size)]

    def _batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        ids = self._tokens[rows].astype(np.int64)
        labels = np.full_like(ids, IGNORE_INDEX)
        labels[:, :-1] = np.where(self._loss_mask[rows, 1:] == 1, ids[:, 1:], IGNORE_INDEX)
        documents = None if self._starts is None else np.cumsum(self._starts[rows], axis=1, dtype=np.int32)
        return Batch(ids, labels, documents)


@dataclass(frozen=True, slots=True)
class Step:
    """The part of a step that one process reads."""

    num_labels: int
    """Of the whole step, all processes together."""
    micro_batches: list[Batch]


class Prefetcher:
    """Prepares the next step in a thread while the device works on this one."""

    def __init__(self, batches: Batches, local_rows: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]) -> None:
        self._batches, self._local_rows = batches, local_rows
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._next: dict[tuple[int, int, tuple[int, ...]], Future[Step]] = {}

    def get(self, step: int, size: int, phase_begins: tuple[int, ...]) -> Step:
        """Return a step's micro-batches of at most ``size`` rows."""
        ready = self._next.pop((step, size, phase_begins), None)
        following = (step + 1, size, phase_begins)
        self._next = {following: self._pool.submit(self._prepare, *following)}
        return ready.result() if ready else self._prepare(step, size, phase_begins)

    def _prepare(self, step: int, size: int, phase_begins: tuple[int, ...]) -> Step:
        rows = self._batches.rows(step, phase_begins)
        return Step(self._batches.num_labels(rows), self._batches.micro_batches(self._local_rows(rows), size))
