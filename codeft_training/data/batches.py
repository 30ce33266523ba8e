"""The batches of each step: a pure function of recipe and step, independent of the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.procedural import procedural_rows
from codeft_training.data.variation import Variation
from codeft_training.recipe_groups import DataConfig
from codeft_training.recipe_stages import Stage

IGNORE_INDEX = -100
"""Label of a token that is not in the loss (``torch.nn.functional.cross_entropy``'s default)."""
_MASK_STREAM = 4
"""Of random numbers, beside those of the orders."""


def document_positions(starts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the position of each token in its piece of a document, from rows of ``PackedRows.starts``; same shape."""
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
    """The training rows in the order of a run.

    A reading is the number of a row plus the number of rows times that of the pass; below 0, it is a procedural row.
    """

    def __init__(
        self,
        packed: PackedRows,
        data: DataConfig,
        stages: Sequence[Stage] = (),
        *,
        with_documents: bool = False,
        variation: Variation | None = None,
    ) -> None:
        self._tokens, self._loss_mask = packed.tokens("train"), packed.loss_mask("train")
        self._rows_per_step, self._seed = data.rows_per_step, data.seed
        self._order = packed.order(data.seed, stages)
        self._starts = packed.starts("train") if with_documents else None
        self._variation = variation or Variation()

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

    def readings(self, step: int, phase_begins: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return all readings of a step."""
        first, stop = step * self._rows_per_step, (step + 1) * self._rows_per_step
        if step < self._variation.num_procedural_steps:
            return np.arange(-1 - first, -1 - stop, -1)
        return self._order.readings(first, stop, phase_begins)

    def num_labels(self, readings: npt.NDArray[np.int64]) -> int:
        """Return how many tokens of a step's readings are trained on."""
        if readings[0] < 0 or self._variation.document_order is not None:
            return int(self._read(readings)[1][:, 1:].sum(dtype=np.int64))
        return int(self._loss_mask[readings % self._order.num_rows, 1:].sum(dtype=np.int64))

    def micro_batches(self, readings: npt.NDArray[np.int64], size: int) -> list[Batch]:
        """Return a step's ``readings`` as arrays, at most ``size`` at a time."""
        return [self._batch(readings[start : start + size]) for start in range(0, len(readings), size)]

    def _batch(self, readings: npt.NDArray[np.int64]) -> Batch:
        tokens, loss_mask, starts = self._read(readings)
        ids = tokens.astype(np.int64)
        labels = np.full_like(ids, IGNORE_INDEX)
        labels[:, :-1] = np.where(loss_mask[:, 1:] == 1, ids[:, 1:], IGNORE_INDEX)
        if self._variation.masked_share and readings[0] >= 0:
            ids = np.where(self._is_masked(readings, ids.shape[1]), self._variation.mask_token, ids)
        return Batch(ids, labels, None if starts is None else np.cumsum(starts, axis=1, dtype=np.int32))

    def _read(self, readings: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Any]:
        """Return tokens, loss mask and, for attention by document, starts of readings of one kind."""
        variation, rows = self._variation, readings % self._order.num_rows
        if readings[0] < 0:
            return self._procedural(readings)
        if variation.document_order is None:
            return self._tokens[rows], self._loss_mask[rows], None if self._starts is None else self._starts[rows]
        source, starts = variation.document_order.sources(readings)
        is_padding = source < 0
        tokens = np.where(is_padding, 0, self._tokens.reshape(-1)[source])
        loss_mask = np.where(is_padding, 0, self._loss_mask.reshape(-1)[source])
        return tokens, loss_mask, None if self._starts is None else starts

    def _procedural(self, readings: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Any]:
        context_tokens = self._tokens.shape[1]
        tokens = procedural_rows(
            -1 - readings, context_tokens=context_tokens, vocab_size=self._variation.vocab_size, seed=self._seed
        )
        return tokens, np.ones_like(tokens), None if self._starts is None else np.zeros_like(tokens)

    def _is_masked(self, readings: npt.NDArray[np.int64], context_tokens: int) -> npt.NDArray[np.bool_]:
        # each reading has its own noise, so that it is the same however rows are divided over batches and processes
        keys = ([self._seed, _MASK_STREAM, reading] for reading in readings.tolist())
        noise = [np.random.Generator(np.random.PCG64(key)).random(context_tokens, np.float32) for key in keys]
        return np.stack(noise) < self._variation.masked_share


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
        readings = self._batches.readings(step, phase_begins)
        local = self._local_rows(readings)
        return Step(self._batches.num_labels(readings), self._batches.micro_batches(local, size))
