"""Packed rows, memory-mapped, in an order that is a pure function of seed and step.

Invariant: row number ``i`` of a run depends on the recipe's seed and ``i`` only, so a resumed run reads on exactly
where the killed one stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codeft_training.corpus import file_hash


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

    def in_loss(self, split: str) -> npt.NDArray[np.uint8]:
        """Return 1 where a token is trained on, ``[rows, context]``."""
        return self._map(split, "loss", np.dtype(np.uint8))

    def domains(self, split: str) -> tuple[list[str], npt.NDArray[np.int8]]:
        """Return the names of the domains, and the domain of each token by its number, ``[rows, context]``."""
        import pyarrow.parquet as pq

        index = pq.read_table(self.folder / f"{split}.index.parquet", columns=["row", "start", "length", "domain"])
        names = sorted(index["domain"].unique().to_pylist())
        manifest = self.manifest()
        found = np.zeros((manifest["splits"][split]["num_rows"], manifest["context_tokens"]), dtype=np.int8)
        row, start, length = (index[name].to_numpy().astype(np.int64) for name in ("row", "start", "length"))
        first = np.repeat(row * manifest["context_tokens"] + start - (np.cumsum(length) - length), length)
        number = np.array([names.index(domain) for domain in index["domain"].to_pylist()], dtype=np.int8)
        found.reshape(-1)[first + np.arange(len(first))] = np.repeat(number, length)
        return names, found

    def order(self, num_wanted: int, seed: int) -> npt.NDArray[np.int64]:
        """Return which training row is read at each position of a run, the annealing rows at its end."""
        train = self.manifest()["splits"]["train"]
        return row_order(train["num_rows"], num_wanted, seed, num_annealing_rows=train["num_annealing_rows"])

    def starts(self, split: str) -> npt.NDArray[np.uint8]:
        """Return 1 where a piece of a document begins, ``[rows, context]``."""
        import pyarrow.parquet as pq

        index = pq.read_table(self.folder / f"{split}.index.parquet", columns=["row", "start"])
        found = np.zeros(self.tokens(split).shape, dtype=np.uint8)
        found[index["row"].to_numpy(), index["start"].to_numpy()] = 1
        return found

    def _map(self, split: str, what: str, kind: np.dtype) -> npt.NDArray[Any]:
        manifest = self.manifest()
        shape = (manifest["splits"][split]["num_rows"], manifest["context_tokens"])
        path = self.folder / f"{split}.{what}.bin"
        return np.memmap(path, kind, "r", shape=shape) if shape[0] else np.zeros(shape, kind)


def row_order(num_rows: int, num_wanted: int, seed: int, *, num_annealing_rows: int = 0) -> npt.NDArray[np.int64]:
    """Return which row is read at each position: a fresh permutation of all rows for every pass over them.

    The last ``num_annealing_rows`` rows are the annealing phase: they are read at the end of the run, in the same
    proportion as they have among the rows.
    """
    num_broad = num_rows - num_annealing_rows
    last = round(num_wanted * num_annealing_rows / num_rows)
    broad = _passes(num_broad, num_wanted - last, [seed])
    return np.concatenate([broad, num_broad + _passes(num_annealing_rows, last, [seed, 1])])


def _passes(num_rows: int, num_wanted: int, seeds: list[int]) -> npt.NDArray[np.int64]:
    passes = -(-num_wanted // max(num_rows, 1))
    orders = [np.random.Generator(np.random.PCG64([*seeds, i])).permutation(num_rows) for i in range(passes)]
    return np.concatenate([*orders, np.zeros(0, dtype=np.int64)])[:num_wanted]


def token_bytes(tokenizer_folder: Path) -> npt.NDArray[np.int64]:
    """Return how many bytes of text each token id stands for; specials stand for none."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    specials = {token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    sizes = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, token_id in tokenizer.get_vocab().items():
        sizes[token_id] = 0 if token_id in specials else len(token)  # byte-level: one character a byte
    return sizes
