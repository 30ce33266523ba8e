"""Bits per byte of fixed evaluation texts while a run trains, by domain: its progress before any benchmark scores it.

Invariant: an evaluation changes no weight. It draws no random number and leaves no state, so a run ends in the same
bits with and without it; its cost is measured, and bounded beforehand by reading fewer texts.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codeft_training.data.batches import IGNORE_INDEX
from codeft_training.data.encoding import load_tokenizer
from codeft_training.data.packed_rows import token_bytes
from codeft_training.measure.validation import TokenNats
from codeft_training.recipe import Recipe

BITS_PREFIX = "probe_bits_per_byte_"
MAX_SHARE = 0.04
"""Of a run's time that evaluation texts may be expected to take; their measured share is kept below a twentieth."""
COST_OF_A_TOKEN = 0.5
"""Of a training token's time: a forward pass is a third of forward and backward, and short texts are padded."""
_DOMAIN = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class EvalText:
    """A text whose likelihood is measured, and the context before it."""

    domain: str
    context: str
    text: str
    item: str = ""
    """Names the benchmark item whose prompt is the context, where the model is to continue it too."""


def read_eval_texts(path: Path) -> list[EvalText]:
    """Return the texts of a JSON lines file with ``domain``, ``text`` and, where wanted, ``context`` and ``item``.

    Raises:
        ValueError: a line is no such object; names the line.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_eval_text(line, f"{path} line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _eval_text(line: str, where: str) -> EvalText:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON ({error}); write one object a line") from error
    found = [row.get(name, "") for name in ("domain", "context", "text", "item")] if isinstance(row, dict) else []
    if (
        not found
        or not all(isinstance(value, str) for value in found)
        or not _DOMAIN.fullmatch(found[0])
        or not found[2]
    ):
        raise ValueError(
            f"{where} is {line[:80]!r}; it must hold a 'domain' of [a-z0-9_]+, a 'text' that is not empty and, if "
            f"wanted, a 'context' and an 'item'"
        )
    return EvalText(*found)


@dataclass(frozen=True, slots=True)
class _Encoded:
    domain: int
    ids: list[int]
    first: int
    """The first token that counts."""


class EvalTexts:
    """Texts that are tokenized once and measured again and again."""

    def __init__(self, texts: Sequence[EvalText], tokenizer_folder: Path, recipe: Recipe) -> None:
        tokenizer = load_tokenizer(tokenizer_folder)
        self._domains = sorted({text.domain for text in texts})
        encoded = [self._encode(text, tokenizer, recipe.data.context_tokens) for text in texts]
        self.stride = subsample_stride(sum(len(text.ids) for text in encoded), recipe)
        chosen = [text for i in range(len(self._domains)) for text in _in_domain(encoded, i)[:: self.stride]]
        self._texts = sorted(chosen, key=lambda text: len(text.ids))
        self._bytes = token_bytes(tokenizer_folder)
        self._num_given = len(texts)

    def describe(self) -> str:
        """Return the log line about the texts."""
        subsampled = (
            f", every {self.stride}th so that it takes at most {MAX_SHARE:.0%} of the run" if self.stride > 1 else ""
        )
        return (
            f"evaluation texts: {len(self._texts)} of {self._num_given} texts in {len(self._domains)} "
            f"domains{subsampled}"
        )

    def _encode(self, text: EvalText, tokenizer: Any, context_tokens: int) -> _Encoded:
        # the two are tokenized apart: the bytes counted are exactly the text's
        before, ids = (tokenizer.encode(part, add_special_tokens=False).ids for part in (text.context, text.text))
        return _Encoded(self._domains.index(text.domain), [*before, *ids][:context_tokens], max(len(before), 1))

    def measure(self, token_nats: TokenNats, batch_rows: int) -> dict[str, float]:
        """Return ``probe_bits_per_byte_<domain>`` of each domain with a counted byte, and ``probe_seconds``."""
        start = time.monotonic()
        sums = np.zeros((2, len(self._domains)))
        for at in range(0, len(self._texts), batch_rows):
            sums += self._sums(self._texts[at : at + batch_rows], token_nats)
        bits = {
            f"{BITS_PREFIX}{domain}": float(nats / math.log(2) / num_bytes)
            for domain, nats, num_bytes in zip(self._domains, *sums, strict=True)
            if num_bytes
        }
        return bits | {"probe_seconds": round(time.monotonic() - start, 4)}

    def _sums(self, texts: Sequence[_Encoded], token_nats: TokenNats) -> npt.NDArray[np.float64]:
        shape = (len(texts), max(len(text.ids) for text in texts))
        ids, labels = np.zeros(shape, dtype=np.int64), np.full(shape, IGNORE_INDEX)
        for row, text in enumerate(texts):
            ids[row, : len(text.ids)] = text.ids
            labels[row, text.first - 1 : len(text.ids) - 1] = text.ids[text.first :]
        counted = labels != IGNORE_INDEX
        domains = np.repeat([text.domain for text in texts], counted.sum(axis=1))
        columns = (token_nats(ids, labels)[counted], self._bytes[labels[counted]])
        return np.stack([np.bincount(domains, values, len(self._domains)).astype(np.float64) for values in columns])


def _in_domain(encoded: Sequence[_Encoded], domain: int) -> list[_Encoded]:
    return [text for text in encoded if text.domain == domain]


def bits_line(measured: Mapping[str, float]) -> str:
    """Return the log line of a measurement."""
    bits = ", ".join(
        f"{name.removeprefix(BITS_PREFIX)} {value:.3f}" for name, value in measured.items() if BITS_PREFIX in name
    )
    return f"evaluation texts, bits per byte: {bits} ({measured['probe_seconds']:.2f} s)"


def subsample_stride(num_tokens: int, recipe: Recipe) -> int:
    """Return k: of so many tokens of evaluation texts, every k-th text is read, to stay within the share of the run."""
    max_steps = recipe.schedule.max_steps
    num_evaluations = -(-max_steps // recipe.monitor.validate_every_steps)
    expected = COST_OF_A_TOKEN * num_tokens * num_evaluations / (max_steps * recipe.data.tokens_per_step)
    return max(math.ceil(expected / MAX_SHARE), 1)
