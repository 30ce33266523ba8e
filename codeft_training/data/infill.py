"""Fill-in-the-middle: a document is cut at two places and told in another order, so that a model learns to fill gaps.

Bavarian et al. (arXiv 2207.14255): cuts are drawn over characters, so that the model learns to begin and to end inside
a word; half of the documents are told prefix, suffix, middle (PSM), half suffix, prefix and middle in one (SPM).
Invariant: the parts of all spans of a document, put back in order, are its text; no span reaches into another document.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from codeft_training.data.tokenizer import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

_SPAN_CHARS_PER_TOKEN = 2
"""Spans of this many characters a token of context fit in a row for code in any language: 2.2 is the least measured."""
_RANGE = 2**64


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one document, cut in three."""

    prefix: str
    middle: str
    suffix: str
    suffix_first: bool

    def parts(self) -> Iterator[tuple[str, bool]]:
        """Yield what is told, in order, and whether it is a special token; the end of text comes after the last."""
        if self.suffix_first:
            told = ((FIM_PREFIX, ""), (FIM_SUFFIX, self.suffix), (FIM_MIDDLE, self.prefix + self.middle))
        else:
            told = ((FIM_PREFIX, self.prefix), (FIM_SUFFIX, self.suffix), (FIM_MIDDLE, self.middle))
        for mark, text in told:
            yield mark, True
            if text:
                yield text, False


def infill_spans(text: str, key: str, *, rate: float, context_tokens: int) -> list[Span]:
    """Return the spans of a document that is to be told out of order, or none if it stays as it is.

    Args:
        text: The document.
        key: Names the document and its reading: all draws depend on it only, and every reading is cut anew.
        rate: Probability that a document is told out of order.
        context_tokens: Length of a row. A longer document is cut into spans that fit, each told by itself: a gap whose
            text lies in another row cannot be learned.
    """
    if not text or _numbers(key)[0] >= rate * _RANGE:
        return []
    num_spans = -(-len(text) // (context_tokens * _SPAN_CHARS_PER_TOKEN))
    bounds = [len(text) * i // num_spans for i in range(num_spans + 1)]
    return [_span(text[bounds[i] : bounds[i + 1]], f"{key} {i}") for i in range(num_spans)]


def _span(text: str, key: str) -> Span:
    _, first, second, order = _numbers(key)
    start, end = sorted((first % (len(text) + 1), second % (len(text) + 1)))
    return Span(text[:start], text[start:end], text[end:], suffix_first=order % 2 == 0)


def _numbers(key: str) -> tuple[int, ...]:
    """Return four numbers in [0, 2^64) that depend on ``key`` only."""
    return struct.unpack("<4Q", hashlib.blake2b(key.encode(), digest_size=32).digest())
