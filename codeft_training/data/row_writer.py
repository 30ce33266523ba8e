"""Writes packed rows: tokens, loss mask and index of a split, window by window."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_training.data.placement import Pieces, place_pieces
from codeft_training.data.placement_kernel import copy_pieces
from codeft_training.data.windows import Window, memory_map

if TYPE_CHECKING:
    import pyarrow as pa


class RowWriter:
    """Appends rows to the files of a split, and counts them."""

    def __init__(self, folder: Path, split: str, *, dtype: np.dtype, context_tokens: int) -> None:
        import pyarrow.parquet as pq

        self.context_tokens = context_tokens
        self._files = {folder / f"{split}.tokens.bin": dtype, folder / f"{split}.loss.bin": np.dtype(np.uint8)}
        for path in self._files:
            path.touch()
        self._index = pq.ParquetWriter(folder / f"{split}.index.parquet", _index_schema(), compression="zstd")
        self.num_rows = 0
        self.counts = Counter[str]()
        """Readings, tokens and loss tokens."""

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._index.close()

    def write(
        self, window: Window, spans: pa.Table, readings: npt.NDArray[np.int64], *, marker: int | None = None
    ) -> None:
        """Append rows with readings of a window.

        Args:
            window: The spans' tokens.
            spans: The window's own table of them.
            readings: The number of the window's span that each reading reads.
            marker: A token to count.
        """
        if not len(readings):
            return
        length, whole = spans["length"].to_numpy(), spans["whole"].to_numpy()
        pieces = place_pieces(length[readings], self.context_tokens, whole[readings])
        owner = readings[pieces.document]
        tokens, loss_mask = self._appended(pieces.num_rows)
        copy_pieces(
            pieces.row * self.context_tokens + pieces.start,
            (np.cumsum(length) - length)[owner] + pieces.document_start,
            pieces.length,
            *(window.tokens(), window.loss_mask(), tokens, loss_mask),
        )
        if pieces.num_rows:
            self._index.write_table(_index_table(pieces, spans, owner, self.num_rows))
        self.num_rows += pieces.num_rows
        self.counts.update(
            num_readings=len(readings),
            num_tokens=int(pieces.length.sum()),
            num_loss_tokens=int(loss_mask.sum()),
            num_marked=0 if marker is None else int((tokens == marker).sum()),
        )

    def _appended(self, num_rows: int) -> list[npt.NDArray[Any]]:
        """Return the new rows at the end of each file, memory-mapped."""
        found = []
        for path, dtype in self._files.items():
            row_bytes = self.context_tokens * dtype.itemsize
            with path.open("r+b") as file:
                file.truncate((self.num_rows + num_rows) * row_bytes)
            found.append(memory_map(path, dtype, "r+", self.num_rows * row_bytes))
        return found


def _index_schema() -> pa.Schema:
    import pyarrow as pa

    numbers, texts = pa.uint32(), pa.string()
    return pa.schema(
        {
            **{"row": numbers, "start": numbers, "length": numbers},
            **{"document_id": texts, "source": texts, "domain": texts, "document_start": numbers},
        }
    )


def _index_table(pieces: Pieces, spans: pa.Table, owner: npt.NDArray[np.int64], first_row: int) -> pa.Table:
    import pyarrow as pa

    owners = spans.select(["document_id", "source", "domain", "start"]).take(pa.array(owner))
    columns = {
        "row": pieces.row + first_row,
        "start": pieces.start,
        "length": pieces.length,
        **{name: owners[name] for name in ("document_id", "source", "domain")},
        "document_start": owners["start"].to_numpy() + pieces.document_start,
    }
    return pa.table(columns).cast(_index_schema())
