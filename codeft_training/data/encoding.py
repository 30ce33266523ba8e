"""Documents become tokens: plain text whole, conversations turn by turn in ChatML, infilled documents span by span.

Invariants: prompt and answer are tokenized apart, so that no token straddles their border; text never turns into a
control token, whatever its characters, but for the tags around an assistant's thoughts; loss is on all text of plain
documents and on the assistant's turns of conversations.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_training.data.infill import infill_spans
from codeft_training.data.thoughts import split_thoughts
from codeft_training.data.tokenizer import END_OF_TEXT, THINK_TAGS, TURN_END, TURN_START

if TYPE_CHECKING:
    from tokenizers import Tokenizer

THINK_SPAN_POLICIES = ("train", "mask", "remove")
"""``<think>`` spans of an answer are trained on, read without loss, or left out."""
_BATCH_DOCUMENTS = 1024

Part = tuple[str | tuple[int, ...], bool]
"""Text or token ids, and whether they are trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOptions:
    """Options of the way from documents to tokens."""

    context_tokens: int
    """Length of a row."""
    fim_rate: float = 0.0
    """Share of the plain code documents that are reordered, to learn filling in the middle."""
    think_spans: Mapping[str, str] = field(default_factory=dict)
    """Source -> one of ``THINK_SPAN_POLICIES``; a source that is not named trains on them."""

    def __post_init__(self) -> None:
        if self.context_tokens < 16:
            raise ValueError(f"context_tokens {self.context_tokens} must be at least 16")
        if not 0 <= self.fim_rate <= 1:
            raise ValueError(f"fim_rate {self.fim_rate} must lie in 0..1; 0.5 is a common choice")
        unknown = {name: policy for name, policy in self.think_spans.items() if policy not in THINK_SPAN_POLICIES}
        if unknown:
            raise ValueError(f"think_spans {unknown} must each be one of {THINK_SPAN_POLICIES}")


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """Token ids of a document, or of one span of it, and which of them are trained on."""

    document_id: str
    source: str
    domain: str
    format: str
    language: str
    start: int
    """Position of the span's first token in its reading."""
    epochs: int
    """Readings of this form, annealing included."""
    annealing_epochs: int
    tokens: npt.NDArray[np.uint32]
    loss_mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Rendering:
    """One form of a document: its spans, and how often it is read in this form."""

    document: Mapping[str, Any]
    spans: list[list[Part]]
    epochs: int
    annealing_epochs: int


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a folder, set to read every control token in a text as plain characters.

    Added tokens are looked for in a text before anything else. Special ones can be switched off; the others, in Qwen's
    tokenizer those for tools and for filling in the middle, become ordinary tokens, which no merge of text leads to.
    Runs of spaces, as GPT-NeoX adds them, are text and stay.
    """
    from tokenizers import Tokenizer

    record = json.loads((folder / "tokenizer.json").read_text())
    added = record["added_tokens"]
    record["model"]["vocab"] |= {token["content"]: token["id"] for token in added}
    record["added_tokens"] = [token for token in added if token["special"] or token["content"].isspace()]
    tokenizer = Tokenizer.from_str(json.dumps(record))
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode_documents(
    documents: Iterable[Mapping[str, Any]], tokenizer: Tokenizer, options: EncodingOptions
) -> Iterator[TokenizedDocument]:
    """Yield the tokens of each document; of one that is reordered, several spans or several forms."""
    renderer = DocumentRenderer(tokenizer, options)
    documents = iter(documents)
    while batch := list(itertools.islice(documents, _BATCH_DOCUMENTS)):
        renderings = [rendering for document in batch for rendering in renderer.render(document)]
        yield from _encode_batch(renderings, tokenizer)


def _encode_batch(batch: list[_Rendering], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    """Encode all texts of a batch in one call, which uses every core."""
    texts = [part for rendering in batch for span in rendering.spans for part, _ in span if isinstance(part, str)]
    encoded = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    for rendering in batch:
        start, document = 0, rendering.document
        for span in rendering.spans:
            ids = [next(encoded).ids if isinstance(part, str) else part for part, _ in span]
            sizes = [len(part) for part in ids]
            tokens = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.uint32, count=sum(sizes))
            loss_mask = np.repeat(np.array([is_trained for _, is_trained in span]), sizes)
            yield TokenizedDocument(
                document["document_id"],
                document["source"],
                document["domain"],
                document["format"],
                document["language"],
                start,
                rendering.epochs,
                rendering.annealing_epochs,
                tokens,
                loss_mask,
            )
            start += len(tokens)


class DocumentRenderer:
    """Turns documents into parts to encode; holds the token ids of recurring parts."""

    def __init__(self, tokenizer: Tokenizer, options: EncodingOptions) -> None:
        self._tokenizer, self._options = tokenizer, options
        self._end = (self._special(END_OF_TEXT),)
        self._newline = self._plain("\n")
        self._heads: dict[str, tuple[int, ...]] = {}
        self._tags = {tag: (token,) for tag in THINK_TAGS if (token := tokenizer.token_to_id(tag)) is not None}

    def render(self, document: Mapping[str, Any]) -> list[_Rendering]:
        """Return the forms in which a document is read."""
        epochs, annealing = document["epochs"], document["annealing_epochs"]
        if document["messages"]:
            return [_Rendering(document, [self._conversation(document)], epochs, annealing)]
        unchanged = [[(document["text"], True), (self._end, True)]]
        if not self._options.fim_rate or document["split"] != "train" or document["language"] == "text":
            return [_Rendering(document, unchanged, epochs, annealing)]
        forms = [self._infilled(document, reading) for reading in range(epochs)]
        readings = [(spans or unchanged, reading >= epochs - annealing) for reading, spans in enumerate(forms)]
        plain = [is_annealing for spans, is_annealing in readings if spans is unchanged]
        infilled = [_Rendering(document, spans, 1, int(last)) for spans, last in readings if spans is not unchanged]
        return infilled + ([_Rendering(document, unchanged, len(plain), sum(plain))] if plain else [])

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
        policy = self._options.think_spans.get(document["source"], "train")
        parts: list[Part] = []
        for message in document["messages"]:
            role, content = message["role"], message["content"]
            if not isinstance(content, str):
                raise ValueError(
                    f"document {document['document_id']!r} has a turn of {role!r} with the content {content!r}; a turn "
                    f"must be text: let the adapter of {document['source']!r} reject the row"
                )
            is_trained = role == "assistant"
            parts.append((self._head(role), False))
            parts += self._answer(content, policy) if is_trained else [(content, False)]
            parts += [((self._special(TURN_END),), is_trained), (self._newline, False)]
        return [*parts, (self._end, True)]

    def _answer(self, content: str, policy: str) -> list[Part]:
        """Return an assistant's turn as parts, its thoughts trained on, masked or removed."""
        pieces = [
            (piece, policy == "train" or not is_thought, is_thought and piece in self._tags)
            for piece, is_thought in split_thoughts(content)
            if not is_thought or policy != "remove"
        ]
        parts: list[Part] = []
        for (is_trained, is_tag), group in itertools.groupby(pieces, key=itemgetter(1, 2)):
            text = "".join(piece for piece, *_ in group)
            if text:
                parts.append((self._tags[text] if is_tag else text, is_trained))
        return parts

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
