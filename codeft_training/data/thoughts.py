"""Finds the thoughts of an answer: its ``<think>`` spans, but not tags that the answer only writes about.

Invariant: the pieces, put together, are the answer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from codeft_training.data.tokenizer import THINK_TAGS

_CODE = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^[ \t]*(?P=fence)[ \t]*$|`[^`\n]+`|[\"']</?think>|</?think>[\"']",
    re.DOTALL | re.MULTILINE,
)
"""Fenced blocks, code in a line and quoted tags, with or without a fence around them."""
_THOUGHT = re.compile(
    r"\A(?:(?!<think>).)*?</think>\s*"  # R1's prompt ends in the opening tag: its answers have the closing one only
    r"|<think>.*?</think>\s*"
    r"|^[ \t]*<think>.*\Z",  # never closed; in the middle of a line it is a word of the sentence
    re.DOTALL | re.MULTILINE,
)
_TAG = re.compile("|".join(THINK_TAGS))


def split_thoughts(answer: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of an answer with whether each belongs to a thought; each tag of a thought is a piece."""
    # no spaces: an answer that is nothing but code is no end of the thought before it
    searchable = _CODE.sub(lambda code: "\0" * len(code[0]), answer)
    at = 0
    for thought in _THOUGHT.finditer(searchable):
        start, end = thought.span()
        yield answer[at:start], False
        tags = (edge for tag in _TAG.finditer(searchable, start, end) for edge in tag.span())
        for first, last in itertools.pairwise((start, *tags, end)):
            yield answer[first:last], True
        at = end
    yield answer[at:], False
