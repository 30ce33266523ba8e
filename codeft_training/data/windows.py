"""Tokenized spans on disk, each once, in windows that are placed one by one: memory does not grow with the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_training.data.conversations import FittedSpan

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW_SPANS, WINDOW_TOKENS = 2**16, 2**25
"""A window is closed at either; one row a window at most is short, of some tens of thousands."""
_TEXTS = ("document_id", "source", "domain", "format", "language")
_NUMBERS = ("start", "length", "epochs", "annealing", "whole", "long", "repeated", "left_out")


@dataclass(frozen=True, slots=True)
class Window:
    """Some spans of a split, one after another."""

    folder: Path
    dtype: np.dtype

    def spans(self) -> pa.Table:
        """Return a row for each span.

        Its columns are ``document_id``, ``source``, ``domain``, ``format``, ``language``, ``start`` (in its reading),
        ``length``, ``epochs``, ``annealing``, and ``whole``, ``long``, ``repeated`` and ``left_out`` as in
        ``FittedSpan``.
        """
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "spans.parquet")

    def tokens(self) -> npt.NDArray[Any]:
        """Return the tokens of all spans, memory-mapped."""
        return memory_map(self.folder / "tokens", self.dtype)

    def loss_mask(self) -> npt.NDArray[np.uint8]:
        """Return 1 for each token that is trained on, memory-mapped."""
        return memory_map(self.folder / "loss", np.dtype(np.uint8))


def write_windows(fitted: Iterable[FittedSpan], folder: Path, dtype: np.dtype) -> list[Window]:
    """Write all spans to ``folder`` as they come and return their windows."""
    folder.mkdir()
    spans, windows = iter(fitted), []
    for first in spans:
        window = Window(folder / str(len(windows)), dtype)
        window.folder.mkdir()
        _write_window(first, spans, window)
        windows.append(window)
    return windows


def _write_window(first: FittedSpan, others: Iterator[FittedSpan], window: Window) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[tuple[Any, ...]] = []
    num_tokens, entry = 0, first
    with (window.folder / "tokens").open("wb") as tokens, (window.folder / "loss").open("wb") as loss:
        while True:
            entry.span.tokens.astype(window.dtype).tofile(tokens)
            entry.span.loss_mask.astype(np.uint8).tofile(loss)
            rows.append(_row(entry))
            num_tokens += len(entry.span.tokens)
            if len(rows) >= WINDOW_SPANS or num_tokens >= WINDOW_TOKENS:
                break
            following = next(others, None)
            if following is None:
                break
            entry = following
    kinds = [pa.string()] * len(_TEXTS) + [pa.int64()] * len(_NUMBERS)
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    pq.write_table(pa.table(columns, names=[*_TEXTS, *_NUMBERS]), window.folder / "spans.parquet")


def _row(entry: FittedSpan) -> tuple[Any, ...]:
    span = entry.span
    return (
        *(span.document_id, span.source, span.domain, span.format, span.language),
        *(span.start, len(span.tokens), span.epochs, span.annealing_epochs),
        *(int(entry.is_whole), int(entry.is_long), entry.num_repeated, entry.num_left_out),
    )


def memory_map(path: Path, dtype: np.dtype, mode: Any = "r", offset: int = 0) -> npt.NDArray[Any]:
    """Return the numbers of a file from byte ``offset`` on; none where there is nothing to map."""
    return np.asarray(np.memmap(path, dtype, mode, offset)) if path.stat().st_size > offset else np.zeros(0, dtype)
