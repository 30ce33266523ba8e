"""Documents become tokens: plain text whole, conversations turn by turn in ChatML, infilled documents span by span.

Invariants: prompt and answer are tokenized apart, so that no token straddles their border; text never turns into a
control token, whatever it says; loss is on all text of plain documents and on the assistant's turns of conversations.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_training.data.infill import infill_spans
from codeft_training.data.tokenizer import END_OF_TEXT, TURN_END, TURN_START

if TYPE_CHECKING:
    from tokenizers import Tokenizer

THOUGHTS = ("train", "mask", "remove")
"""What to do with ``<think>`` spans: train on them, read them without loss, or leave them out."""
_THOUGHT = re.compile(r"<think>.*?(?:</think>\s*|\Z)", re.DOTALL)
_BATCH_DOCUMENTS = 1024

Part = tuple[str | tuple[int, ...], bool]
"""Text or token ids, and whether they are trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOptions:
    """How documents are told."""

    context_tokens: int
    """Length of a row."""
    fim_rate: float = 0.0
    """Share of the plain code documents that are told out of order, to learn filling in the middle."""
    thoughts: Mapping[str, str] = field(default_factory=dict)
    """Source -> one of ``THOUGHTS``; a source that is not named trains on them."""

    def __post_init__(self) -> None:
        if self.context_tokens < 16:
            raise ValueError(f"context_tokens {self.context_tokens} must be at least 16")
        if not 0 <= self.fim_rate <= 1:
            raise ValueError(f"fim_rate {self.fim_rate} must lie in 0..1; 0.5 is a common choice")
        unknown = {source: word for source, word in self.thoughts.items() if word not in THOUGHTS}
        if unknown:
            raise ValueError(f"thoughts {unknown} must each be one of {THOUGHTS}")


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """Token ids of a document, or of one span of it, and which of them are trained on."""

    document_id: str
    source: str
    domain: str
    start: int
    """Where the span begins among the tokens of its reading."""
    epochs: int
    """Readings of this form, annealing included."""
    annealing_epochs: int
    tokens: npt.NDArray[np.uint32]
    in_loss: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Told:
    """One form of a document: its spans, and how often it is read so."""

    document: Mapping[str, Any]
    spans: list[list[Part]]
    epochs: int
    annealing_epochs: int


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a folder, set so that control tokens in a text are read as the characters they are."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode_documents(
    documents: Iterable[Mapping[str, Any]], tokenizer: Tokenizer, options: EncodingOptions
) -> Iterator[TokenizedDocument]:
    """Yield the tokens of each document; several spans, or several forms, of one that is told out of order."""
    teller = _Teller(tokenizer, options)
    documents = iter(documents)
    while batch := list(itertools.islice(documents, _BATCH_DOCUMENTS)):
        yield from _encode_batch([told for document in batch for told in teller.tell(document)], tokenizer)


def _encode_batch(batch: list[_Told], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    """Encode all texts of a batch in one call, which uses every core."""
    texts = [part for told in batch for span in told.spans for part, _ in span if isinstance(part, str)]
    encoded = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    for told in batch:
        start, document = 0, told.document
        for span in told.spans:
            ids = [next(encoded).ids if isinstance(part, str) else part for part, _ in span]
            sizes = [len(part) for part in ids]
            tokens = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.uint32, count=sum(sizes))
            in_loss = np.repeat(np.array([is_trained for _, is_trained in span]), sizes)
            yield TokenizedDocument(
                document["document_id"],
                document["source"],
                document["domain"],
                start,
                told.epochs,
                told.annealing_epochs,
                tokens,
                in_loss,
            )
            start += len(tokens)


class _Teller:
    """Turns documents into parts to encode; holds the ids of what recurs."""

    def __init__(self, tokenizer: Tokenizer, options: EncodingOptions) -> None:
        self._tokenizer, self._options = tokenizer, options
        self._end = (self._special(END_OF_TEXT),)
        self._newline = self._plain("\n")
        self._heads: dict[str, tuple[int, ...]] = {}

    def tell(self, document: Mapping[str, Any]) -> list[_Told]:
        """Return the forms in which a document is read."""
        epochs, annealing = document["epochs"], document["annealing_epochs"]
        if document["messages"]:
            return [_Told(document, [self._conversation(document)], epochs, annealing)]
        as_it_is = [[(document["text"], True), (self._end, True)]]
        if not self._options.fim_rate or document["split"] != "train" or document["language"] == "text":
            return [_Told(document, as_it_is, epochs, annealing)]
        forms = [self._infilled(document, reading) for reading in range(epochs)]
        readings = [(spans or as_it_is, reading >= epochs - annealing) for reading, spans in enumerate(forms)]
        plain = [is_annealing for spans, is_annealing in readings if spans is as_it_is]
        told = [_Told(document, spans, 1, int(last)) for spans, last in readings if spans is not as_it_is]
        return told + ([_Told(document, as_it_is, len(plain), sum(plain))] if plain else [])

    def _infilled(self, document: Mapping[str, Any], reading: int) -> list[list[Part]]:
        spans = infill_spans(
            document["text"],
            f"{document['document_id']} {reading}",
            rate=self._options.fim_rate,
            context_tokens=self._options.context_tokens,
        )
        return [
            [
                *(((self._special(part),) if is_mark else part, True) for part, is_mark in span.parts()),
                (self._end, True),
            ]
            for span in spans
        ]

    def _conversation(self, document: Mapping[str, Any]) -> list[Part]:
        thoughts = self._options.thoughts.get(document["source"], "train")
        parts: list[Part] = []
        for message in document["messages"]:
            is_trained = message["role"] == "assistant"
            parts.append((self._head(message["role"]), False))
            if is_trained:
                parts += answer_parts(message["content"], thoughts)
            else:
                parts.append((message["content"], False))
            parts += [((self._special(TURN_END),), is_trained), (self._newline, False)]
        return [*parts, (self._end, True)]

    def _head(self, role: str) -> tuple[int, ...]:
        if role not in self._heads:
            self._heads[role] = (self._special(TURN_START), *self._plain(f"{role}\n"))
        return self._heads[role]

    def _plain(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _special(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise ValueError(
                f"tokenizer has no token {token!r}; ends of documents, turns and infilling need it: use model/tokenizer"
                f" or a base model of the Qwen 2.5 family"
            )
        return token_id


def answer_parts(content: str, thoughts: str) -> list[Part]:
    """Return an assistant's turn as parts, its thoughts trained on, masked or removed.

    A thought that is never closed reaches to the end of the turn.
    """
    if thoughts == "train":
        return [(content, True)]
    parts: list[Part] = []
    at = 0
    for match in _THOUGHT.finditer(content):
        parts += [(content[at : match.start()], True), (match[0], False)]
        at = match.end()
    parts.append((content[at:], True))
    return [part for part in parts if part[0] and (part[1] or thoughts == "mask")]
