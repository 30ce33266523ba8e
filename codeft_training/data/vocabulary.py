"""The vocabulary of a tokenizer: what each token id of packed rows, or of a model's embedding, stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token -> id, and the tokens that control a model instead of standing for text."""

    ids: Mapping[str, int]
    specials: frozenset[str]

    @property
    def hash(self) -> str:
        """16 hex digits over tokens, ids and specials."""
        content = json.dumps([sorted(self.ids.items()), sorted(self.specials)])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def describe(self) -> str:
        """Return size and hash, for a message."""
        return f"{len(self.ids):,} tokens (vocabulary {self.hash})"

    def first_difference(self, base: Vocabulary) -> str | None:
        """Return a token of ``base`` that is not here or has another id, None if there is none."""
        return min((token for token, token_id in base.ids.items() if self.ids.get(token) != token_id), default=None)


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary, added tokens included."""
    specials = (token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    return Vocabulary(tokenizer.get_vocab(), frozenset(specials))


def read_vocabulary(folder: Path) -> Vocabulary:
    """Return the vocabulary of a folder with ``tokenizer.json``.

    Raises:
        ValueError: there is no such file.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no tokenizer.json; materialize model/tokenizer first")
    return vocabulary_of(Tokenizer.from_file(str(path)))
