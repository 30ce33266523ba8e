"""Bits per byte of held-out documents, in total and by domain: comparable between tokenizers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from codeft_training.data.batches import IGNORE_INDEX, document_positions
from codeft_training.data.packed_rows import PackedRows, token_bytes

Integers = npt.NDArray[np.int64]


class TokenNats(Protocol):
    """From token ids and labels, ``[rows, context]``, to each label's loss in nats; any number where it is -100."""

    def __call__(self, ids: Integers, labels: Integers, positions: Integers | None = None) -> npt.NDArray[np.float32]:
        """Return the losses; tokens do not see those before a position of 0."""
        ...


class Validation:
    """Held-out rows, evenly spread over the split and always the same."""

    def __init__(self, packed: PackedRows, tokenizer: Path, num_rows: int, *, by_document: bool = False) -> None:
        tokens = packed.tokens("validation")
        rows = spread_rows(len(tokens), num_rows)
        self._names, domains = _domains(packed, tokens.shape)
        self._ids, self._domains = tokens[rows].astype(np.int64), domains[rows]
        self._loss_mask = packed.loss_mask("validation")[rows] == 1
        self._bytes = token_bytes(tokenizer)
        self._positions = document_positions(packed.starts("validation")[rows]) if by_document else None

    def measure(self, token_nats: TokenNats, batch_rows: int) -> dict[str, float]:
        """Return ``validation_loss`` in nats a token, ``bits_per_byte``, and that by domain; {} without rows."""
        sums = np.zeros((3, len(self._names)))
        for start in range(0, len(self._ids), batch_rows):
            sums += self._sums(token_nats, slice(start, start + batch_rows))
        nats, num_bytes, num_tokens = sums
        if not num_tokens.sum():
            return {}
        by_domain = {
            f"bits_per_byte_{name}": float(nats[i] / math.log(2) / num_bytes[i])
            for i, name in enumerate(self._names)
            if name and num_bytes[i]
        }
        return {
            "validation_loss": float(nats.sum() / num_tokens.sum()),
            "bits_per_byte": float(nats.sum() / math.log(2) / num_bytes.sum()),
            **by_domain,
        }

    def _sums(self, token_nats: TokenNats, part: slice) -> npt.NDArray[np.float64]:
        ids, loss_mask = self._ids[part], self._loss_mask[part]
        labels = np.full_like(ids, IGNORE_INDEX)
        labels[:, :-1] = np.where(loss_mask[:, 1:], ids[:, 1:], IGNORE_INDEX)
        counted = labels != IGNORE_INDEX
        nats = token_nats(ids, labels, None if self._positions is None else self._positions[part])[counted]
        domains = self._domains[part][:, 1:][counted[:, :-1]]
        sizes = self._bytes[labels[counted]]
        columns = (nats, sizes, np.ones(len(sizes)))
        return np.stack([np.bincount(domains, values, len(self._names)).astype(np.float64) for values in columns])


def _domains(packed: PackedRows, shape: tuple[int, ...]) -> tuple[list[str], npt.NDArray[np.int8]]:
    try:
        return packed.domains("validation")
    except ModuleNotFoundError:  # the document index is parquet; a bare GPU machine has no pyarrow: one unnamed domain
        return [""], np.zeros(shape, dtype=np.int8)


AVERAGE_PREFIX = "ema_"
"""Of the metric keys of the average of the weights."""


def best_entry(entries: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return the validation with the least bits per byte after a step, and whether it is the average's; {} if none.

    Of a run of stages, it is that of the last one.
    """
    first = max((entry["step"] for entry in entries if "stage" in entry), default=1)
    kinds = [(entry, prefix) for entry in entries if entry["step"] >= first for prefix in ("", AVERAGE_PREFIX)]
    found = [(entry[key], entry, prefix) for entry, prefix in kinds if (key := f"{prefix}bits_per_byte") in entry]
    if not found:
        return {}, False
    _, entry, prefix = min(found, key=lambda kind: kind[0])
    return {key.removeprefix(prefix): value for key, value in entry.items()}, bool(prefix)


def log_line(measured: dict[str, Any]) -> str:
    """Return the log line of a validation."""
    domains = {key.removeprefix("bits_per_byte_"): value for key, value in measured.items() if "byte_" in key}
    shown = ", ".join(f"{name} {value:.3f}" for name, value in domains.items())
    return f"{measured['bits_per_byte']:.4f} bits per byte on held-out documents" + (f" ({shown})" if shown else "")


def spread_rows(num_rows: int, num_wanted: int) -> list[int]:
    """Return at most ``num_wanted`` row numbers, spread evenly."""
    step = max(num_rows / max(num_wanted, 1), 1.0)
    return [int(i * step) for i in range(min(num_rows, num_wanted))]
