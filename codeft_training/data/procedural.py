"""Rows made by a program, to warm a model up before its first document (arXiv 2601.21725).

They have the structure of language without its words. Rows of brackets: 32 kinds, nested at most 16 deep, where what
may close is known from all before it. Rows of repetition: a random string of 4 to 64 tokens again and again, so that
what follows is found by looking back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NUM_KINDS, MAX_DEPTH = 32, 16
REPEATED_TOKENS = (4, 64)
_STREAM = 3

Integers = npt.NDArray[np.int64]


def procedural_rows(numbers: Integers, *, context_tokens: int, vocab_size: int, seed: int) -> Integers:
    """Return the rows of these numbers, ``[rows, context]``, brackets where a number is even; pure in all arguments."""
    kinds = np.random.Generator(np.random.PCG64([seed, _STREAM])).permutation(vocab_size)
    num_kinds = min(NUM_KINDS, vocab_size // 2)
    rows = np.empty((len(numbers), context_tokens), dtype=np.int64)
    for row, number in zip(rows, numbers.tolist(), strict=True):
        rng = np.random.Generator(np.random.PCG64([seed, _STREAM, number]))
        row[:] = (
            _repetition(context_tokens, vocab_size, rng) if number % 2 else _brackets(context_tokens, num_kinds, rng)
        )
        if number % 2 == 0:
            row[:] = kinds[row]
    return rows


def _brackets(num: int, num_kinds: int, rng: np.random.Generator) -> list[int]:
    """Return ``num`` brackets: ``kind`` opens and ``num_kinds + kind`` closes."""
    kinds, opens = rng.integers(num_kinds, size=num).tolist(), (rng.random(num) < 0.5).tolist()
    stack: list[int] = []
    found = []
    for kind, is_open in zip(kinds, opens, strict=True):
        if not stack or (is_open and len(stack) < MAX_DEPTH):
            stack.append(kind)
            found.append(kind)
        else:
            found.append(num_kinds + stack.pop())
    return found


def _repetition(num: int, vocab_size: int, rng: np.random.Generator) -> Integers:
    return np.resize(rng.integers(vocab_size, size=int(rng.integers(*REPEATED_TOKENS, endpoint=True))), num)
