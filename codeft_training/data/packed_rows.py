"""Packed rows, memory-mapped."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codeft_assets.base.files import file_hash
from codeft_training.data.row_groups import group_shares, read_groups
from codeft_training.data.row_order import RowOrder, StageOrder
from codeft_training.recipe_stages import Stage


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A folder written by ``pack``."""

    folder: Path

    def manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            ValueError: the folder holds no packed rows.
        """
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise ValueError(f"{str(self.folder)!r} has no manifest.json; materialize corpus/packed first")
        return json.loads(path.read_text())

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            ValueError: a file is missing or its bytes changed.
        """
        for name, digest in self.manifest()["files"].items():
            path = self.folder / name
            if not path.is_file() or file_hash(path) != digest:
                raise ValueError(
                    f"packed file {str(path)!r} is missing or damaged (sha256 differs from its manifest); delete the "
                    f"folder and materialize corpus/packed again"
                )

    def tokens(self, split: str) -> npt.NDArray[Any]:
        """Return the token ids of a split, ``[rows, context]``."""
        return self._map(split, "tokens", np.dtype(self.manifest()["token_type"]))

    def loss_mask(self, split: str) -> npt.NDArray[np.uint8]:
        """Return 1 where a token is trained on, ``[rows, context]``."""
        return self._map(split, "loss", np.dtype(np.uint8))

    def domains(self, split: str) -> tuple[list[str], npt.NDArray[np.int8]]:
        """Return the names of the domains, and the domain of each token by its number, ``[rows, context]``."""
        import pyarrow.parquet as pq

        index = pq.read_table(self.folder / f"{split}.index.parquet", columns=["domain"])
        names = sorted(index["domain"].unique().to_pylist())
        manifest = self.manifest()
        found = np.zeros((manifest["splits"][split]["num_rows"], manifest["context_tokens"]), dtype=np.int8)
        row, start, length = self.pieces(split)
        first = np.repeat(row * manifest["context_tokens"] + start - (np.cumsum(length) - length), length)
        number = np.array([names.index(domain) for domain in index["domain"].to_pylist()], dtype=np.int8)
        found.reshape(-1)[first + np.arange(len(first))] = np.repeat(number, length)
        return names, found

    def order(self, seed: int, stages: Sequence[Stage] = ()) -> RowOrder | StageOrder:
        """Return which training row is read at each position of a run.

        Raises:
            ValueError: a stage's mixture names rows that there are not.
        """
        train = self.manifest()["splits"]["train"]
        if not stages:
            return RowOrder(num_rows=train["num_rows"], num_annealing_rows=train["num_annealing_rows"], seed=seed)
        groups = read_groups(train)
        return StageOrder([group.rows for group in groups], [group_shares(stage, groups) for stage in stages], seed)

    def starts(self, split: str) -> PieceStarts:
        """Return where the pieces of documents begin, looked up by row."""
        return PieceStarts(self.folder / f"{split}.index.parquet", self.manifest()["context_tokens"])

    def pieces(self, split: str) -> list[npt.NDArray[np.int64]]:
        """Return row, place in it and length of each piece of a document, ordered by row and place."""
        import pyarrow.parquet as pq

        columns = ["row", "start", "length"]
        index = pq.read_table(self.folder / f"{split}.index.parquet", columns=columns)
        return [index[name].to_numpy().astype(np.int64) for name in columns]

    def _map(self, split: str, content: str, kind: np.dtype) -> npt.NDArray[Any]:
        manifest = self.manifest()
        shape = (manifest["splits"][split]["num_rows"], manifest["context_tokens"])
        path = self.folder / f"{split}.{content}.bin"
        return np.memmap(path, kind, "r", shape=shape) if shape[0] else np.zeros(shape, kind)


class PieceStarts:
    """The first place of each piece of a document, memory-mapped from a temporary file, 8 bytes a piece."""

    def __init__(self, index: Path, context_tokens: int) -> None:
        import pyarrow.parquet as pq

        self._context_tokens = context_tokens
        num_pieces = 0
        with tempfile.TemporaryFile() as file, pq.ParquetFile(index) as pieces:
            for batch in pieces.iter_batches(columns=["row", "start"]):
                row, start = (batch[name].to_numpy().astype(np.int64) for name in ("row", "start"))
                file.write((row * context_tokens + start).tobytes())
                num_pieces += len(row)
            file.flush()
            self._places = np.memmap(file, np.int64, "r", shape=num_pieces) if num_pieces else np.zeros(0, np.int64)

    def __getitem__(self, rows: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return 1 where a piece begins, ``[rows, context]``, for row numbers in any order."""
        begin = np.asarray(rows, dtype=np.int64) * self._context_tokens
        first, stop = (np.searchsorted(self._places, place) for place in (begin, begin + self._context_tokens))
        found = np.zeros((len(begin), self._context_tokens), dtype=np.uint8)
        for line, low, high, origin in zip(found, first, stop, begin, strict=True):
            line[self._places[low:high] - origin] = 1
        return found


def token_bytes(tokenizer_folder: Path) -> npt.NDArray[np.int64]:
    """Return how many bytes of text each token id stands for; specials stand for none."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    specials = {token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    sizes = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, token_id in tokenizer.get_vocab().items():
        sizes[token_id] = 0 if token_id in specials else len(token)  # byte-level: one character a byte
    return sizes
