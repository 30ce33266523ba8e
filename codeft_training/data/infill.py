"""Fill-in-the-middle: a document is cut at two places and reordered, so that a model learns to fill gaps.

Bavarian et al. (arXiv 2207.14255): cuts are drawn over characters, so that the model learns to begin and to end inside
a word; half of the documents become prefix, suffix, middle (PSM), half suffix, prefix and middle in one (SPM). Of each
half, every other gap grows to whole lines, as editors and benchmarks ask for: a model that read 20 million tokens of
gaps cut at characters alone began each line with half a word, and filled 0 of 864 (docs/papers.md).
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
        """Yield text and special tokens in reading order, each with whether it is special; the end of text follows."""
        if self.suffix_first:
            ordered = ((FIM_PREFIX, ""), (FIM_SUFFIX, self.suffix), (FIM_MIDDLE, self.prefix + self.middle))
        else:
            ordered = ((FIM_PREFIX, self.prefix), (FIM_SUFFIX, self.suffix), (FIM_MIDDLE, self.middle))
        for mark, text in ordered:
            yield mark, True
            if text:
                yield text, False


def infill_spans(text: str, key: str, *, rate: float, context_tokens: int) -> list[Span]:
    """Return the spans of a document that is to be reordered, or none if it stays as it is.

    Args:
        text: The document.
        key: Names the document and its reading: all draws depend on it only, so every reading has its own cuts.
        rate: Probability that a document is reordered.
        context_tokens: Length of a row. A longer document is cut into spans that fit, each reordered by itself: a gap
            whose text lies in another row cannot be learned.
    """
    if not text or _numbers(key)[0] >= rate * _RANGE:
        return []
    num_spans = -(-len(text) // (context_tokens * _SPAN_CHARS_PER_TOKEN))
    bounds = [len(text) * i // num_spans for i in range(num_spans + 1)]
    return [_span(text[bounds[i] : bounds[i + 1]], f"{key} {i}") for i in range(num_spans)]


def _span(text: str, key: str) -> Span:
    _, first, second, kind = _numbers(key)
    start, end = sorted((first % (len(text) + 1), second % (len(text) + 1)))
    if kind & 2:
        start = text.rfind("\n", 0, start) + 1
        end = text.find("\n", end) + 1 or len(text)
    return Span(text[:start], text[start:end], text[end:], suffix_first=not kind & 1)


def _numbers(key: str) -> tuple[int, ...]:
    """Return four numbers in [0, 2^64) that depend on ``key`` only."""
    return struct.unpack("<4Q", hashlib.blake2b(key.encode(), digest_size=32).digest())
