"""Conversations longer than a row: split, cut or dropped, so that no answer is trained without its question.

Invariants: a span of a conversation fits in a row and begins with the conversation's system turn, if it has one; each
answer in it comes after its question; a token is in the loss of one span at most. Turns are found by their control
tokens, which text never becomes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codeft_training.data.encoding import TokenizedDocument
from codeft_training.data.tokenizer import TURN_START

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LONG_CONVERSATION_POLICIES = ("split", "cut", "drop")
"""The system turn and the last question are repeated with each part; the first part alone is kept; or none is."""
LEAST_ROOM = 0.25
"""Share of a row that a repeated question must leave for the answer; with a longer one, the answer is left out."""


@dataclass(frozen=True, slots=True)
class FittedSpan:
    """A span that packing places, and what fitting it cost."""

    span: TokenizedDocument
    is_whole: bool
    """Whether it must not be divided between rows."""
    is_long: bool = False
    """Whether it is the first span of a conversation that did not fit in a row."""
    num_repeated: int = 0
    """Tokens of the conversation that this span and those after it repeat, in all readings; on the first span only."""
    num_left_out: int = 0
    """Tokens of the conversation that no span has, in all readings; on the first span only."""


@dataclass(frozen=True, slots=True)
class _Turn:
    start: int
    """Position in the conversation."""
    body: int
    end: int
    role: str

    @property
    def whole(self) -> range:
        return range(self.start, self.end)


class ConversationFitter:
    """Fits conversations to rows by a policy."""

    def __init__(self, tokenizer: Tokenizer, context_tokens: int, policy: str) -> None:
        self._context_tokens, self._policy = context_tokens, policy
        self._turn_start = tokenizer.token_to_id(TURN_START)
        encoded = {
            role: tokenizer.encode(f"{role}\n", add_special_tokens=False).ids for role in ("system", "assistant")
        }
        self._heads = {role: [self._turn_start, *ids] for role, ids in encoded.items()}

    def fit(self, spans: Iterable[TokenizedDocument]) -> Iterator[FittedSpan]:
        """Yield the spans that are placed; a conversation that is left out is one without a token or a reading."""
        for span in spans:
            if not len(span.tokens) or span.tokens[0] != self._turn_start:
                yield FittedSpan(span, is_whole=False)
            elif len(span.tokens) <= self._context_tokens:
                yield FittedSpan(span, is_whole=True)
            else:
                yield from self._fit_long(span)

    def _fit_long(self, span: TokenizedDocument) -> Iterator[FittedSpan]:
        parts, continued = self._parts(self._turns(span.tokens))
        kept = {"split": parts, "cut": parts[:1], "drop": []}[self._policy]
        positions = [np.fromiter(itertools.chain.from_iterable(part), dtype=np.int64) for part in kept]
        num_kept = len(np.unique(np.concatenate(positions))) if positions else 0
        repeated, left_out = sum(map(len, positions)) - num_kept, len(span.tokens) - num_kept
        costs = {"num_repeated": repeated * span.epochs, "num_left_out": left_out * span.epochs}
        if not positions:
            nothing = replace(span, tokens=span.tokens[:0], loss_mask=span.loss_mask[:0], epochs=0, annealing_epochs=0)
            yield FittedSpan(nothing, is_whole=True, is_long=True, **costs)
        loss_mask = span.loss_mask.copy()
        loss_mask[continued] = False  # what comes before it is in the part before
        start = span.start
        for number, chosen in enumerate(positions):
            part = replace(span, start=start, tokens=span.tokens[chosen], loss_mask=loss_mask[chosen])
            first = {"is_long": True, **costs} if number == 0 else {}
            yield FittedSpan(part, is_whole=True, **first)
            start += len(chosen)

    def _turns(self, tokens: npt.NDArray[np.uint32]) -> list[_Turn]:
        starts = np.flatnonzero(tokens == self._turn_start).tolist()
        return [self._turn(tokens, start, end) for start, end in itertools.pairwise([*starts, len(tokens)])]

    def _turn(self, tokens: npt.NDArray[np.uint32], start: int, end: int) -> _Turn:
        for role, head in self._heads.items():
            if tokens[start : start + len(head)].tolist() == head:
                return _Turn(start, start + len(head), end, role)
        return _Turn(start, start, end, "")

    def _parts(self, turns: Sequence[_Turn]) -> tuple[list[list[range]], list[int]]:
        """Return each part as stretches of the conversation, and the positions at which a part goes on in an answer."""
        system = [turns[0].whole] if turns[0].role == "system" else []
        parts: list[list[range]] = []
        continued: list[int] = []
        current, question, asked = system, [], []
        for turn in turns[len(system) :]:
            if turn.role != "assistant":
                asked = [*asked, turn.whole]
                continue
            question, exchange, asked = asked or question, [*asked, turn.whole], []
            if self._fits([*current, *exchange]):
                current = [*current, *exchange]
                continue
            begun = self._answer([*system, *question], turn)
            continued += [part[-1].start for part in begun[1:]]
            parts += [current, *begun]
            current = parts.pop() if begun else system
        return [part for part in [*parts, current] if len(part) > len(system)], continued

    def _answer(self, prefix: list[range], turn: _Turn) -> list[list[range]]:
        """Return the parts of an answer, each after ``prefix``; none if that leaves too little room."""
        if self._fits([*prefix, turn.whole]):
            return [[*prefix, turn.whole]]
        head = range(turn.start, turn.body)
        room = self._context_tokens - sum(map(len, prefix)) - len(head)
        if room < LEAST_ROOM * self._context_tokens:
            return []
        starts = range(turn.body, turn.end, room)
        return [[*prefix, head, range(start, min(start + room, turn.end))] for start in starts]

    def _fits(self, part: list[range]) -> bool:
        return sum(map(len, part)) <= self._context_tokens
