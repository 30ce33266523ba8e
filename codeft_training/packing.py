"""Packs documents into rows of one length: best fit, splitting instead of cropping, every token kept.

A row holds pieces of documents; a document longer than a row is cut into several pieces. Loss is taken on all text of
plain documents and on the assistant's turns of conversations. Prompt and answer are tokenized apart, so that no token
straddles their border. Cropping best-fit packers kept 17.7 % of a long-document corpus (measured); this one keeps all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_training.corpus import Corpus, file_hash, write_atomically
from codeft_training.placement import Piece, place_pieces
from codeft_training.tokenizer import END_OF_TEXT, TURN_END, TURN_START

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "validation")
PACKING_VERSION = "1"


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """Token ids of one document and which of them are trained on."""

    document_id: str
    source: str
    domain: str
    tokens: npt.NDArray[np.uint32]
    in_loss: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """The accounts of one split: ``num_tokens`` are all in the rows."""

    num_documents: int
    num_tokens: int
    num_loss_tokens: int
    num_rows: int
    fill_fraction: float
    tokens_by_source: dict[str, int]


def encode_documents(documents: Iterable[dict[str, Any]], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    """Yield each document's tokens, once per epoch it is to be trained on."""
    for document in documents:
        tokens, in_loss = _encode(document, tokenizer)
        encoded = TokenizedDocument(
            document["document_id"],
            document["source"],
            document["domain"],
            np.array(tokens, dtype=np.uint32),
            np.array(in_loss, dtype=np.bool_),
        )
        for _ in range(document["epochs"]):
            yield encoded


def _encode(document: dict[str, Any], tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    end = _special(tokenizer, END_OF_TEXT)
    messages = document["messages"]
    if not messages:
        tokens = [*tokenizer.encode(document["text"], add_special_tokens=False).ids, end]
        return tokens, [True] * len(tokens)
    tokens, in_loss = [], []
    for message in messages:
        for part, is_trained in _turn(message, tokenizer):
            tokens += part
            in_loss += [is_trained] * len(part)
    return [*tokens, end], [*in_loss, True]


def _special(tokenizer: Tokenizer, token: str) -> int:
    token_id = tokenizer.token_to_id(token)
    if token_id is None:
        raise ValueError(f"tokenizer has no token {token!r}; conversations and document ends need it")
    return token_id


def _turn(message: dict[str, str], tokenizer: Tokenizer) -> list[tuple[list[int], bool]]:
    is_trained = message["role"] == "assistant"
    head = [_special(tokenizer, TURN_START), *tokenizer.encode(f"{message['role']}\n", add_special_tokens=False).ids]
    body = [*tokenizer.encode(message["content"], add_special_tokens=False).ids, _special(tokenizer, TURN_END)]
    return [(head, False), (body, is_trained), (tokenizer.encode("\n", add_special_tokens=False).ids, False)]


def pack(corpus: Corpus, tokenizer_folder: Path, output: Path, *, context_tokens: int) -> dict[str, Any]:
    """Write the packed rows of both splits and return the manifest; does nothing if they are up to date.

    The folder holds per split ``<split>.tokens.bin`` (uint16 or uint32, rows × context), ``<split>.loss.bin`` (uint8)
    and ``<split>.index.parquet`` (row, start, length, document_id, source, domain, document_start).

    Raises:
        ValueError: a row is too short, or the training split is empty.
    """
    if context_tokens < 16:
        raise ValueError(f"context_tokens {context_tokens} must be at least 16")
    identity = _identity(corpus, tokenizer_folder, context_tokens)
    if is_current(output, identity):
        return json.loads((output / "manifest.json").read_text())
    temporary = output.with_name(f".tmp-{output.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    manifest = _write_splits(corpus, tokenizer_folder, temporary, context_tokens) | {"identity": identity}
    write_atomically(temporary / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())
    shutil.rmtree(output, ignore_errors=True)
    temporary.rename(output)
    return manifest


def _identity(corpus: Corpus, tokenizer_folder: Path, context_tokens: int) -> str:
    parts = (PACKING_VERSION, corpus.content_hash, file_hash(tokenizer_folder / "tokenizer.json"), str(context_tokens))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_current(output: Path, identity: str) -> bool:
    """Return whether ``output`` holds the complete rows of ``identity``."""
    path = output / "manifest.json"
    if not path.is_file():
        return False
    manifest = json.loads(path.read_text())
    files = manifest["files"]
    return manifest["identity"] == identity and all(
        (output / name).is_file() and file_hash(output / name) == digest for name, digest in files.items()
    )


def _write_splits(corpus: Corpus, tokenizer_folder: Path, folder: Path, context_tokens: int) -> dict[str, Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    kind = np.dtype(np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32)
    splits = {}
    for split in SPLITS:
        documents = list(encode_documents(corpus.documents(split), tokenizer))
        if split == "train" and not documents:
            raise ValueError(f"corpus {str(corpus.folder)!r} has no training documents; look at corpus/ledger for why")
        splits[split] = asdict(_write_split(documents, folder, split, context_tokens, kind))
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    content = "\n".join(f"{name} {digest}" for name, digest in files.items())
    return {
        "content_hash": hashlib.sha256(content.encode()).hexdigest(),
        "context_tokens": context_tokens,
        "token_type": kind.name,
        "vocab_size": tokenizer.get_vocab_size(),
        "corpus_content_hash": corpus.content_hash,
        "files": files,
        "splits": splits,
    }


def _write_split(
    documents: list[TokenizedDocument], folder: Path, split: str, context_tokens: int, kind: np.dtype
) -> SplitReport:
    pieces = place_pieces([len(document.tokens) for document in documents], context_tokens)
    num_rows = max((piece.row for piece in pieces), default=-1) + 1
    tokens = np.zeros((num_rows, context_tokens), dtype=kind)
    in_loss = np.zeros((num_rows, context_tokens), dtype=np.uint8)
    for piece in pieces:
        document, where = documents[piece.document], slice(piece.start, piece.start + piece.length)
        part = slice(piece.document_start, piece.document_start + piece.length)
        tokens[piece.row, where] = document.tokens[part]
        in_loss[piece.row, where] = document.in_loss[part]
        in_loss[piece.row, piece.start] = 0  # what stands before it belongs to another document
    tokens.tofile(folder / f"{split}.tokens.bin")
    in_loss.tofile(folder / f"{split}.loss.bin")
    _write_index(pieces, documents, folder / f"{split}.index.parquet")
    return _report(documents, in_loss, num_rows, context_tokens)


def _report(
    documents: list[TokenizedDocument], in_loss: npt.NDArray[np.uint8], num_rows: int, context_tokens: int
) -> SplitReport:
    by_source: dict[str, int] = {}
    for document in documents:
        by_source[document.source] = by_source.get(document.source, 0) + len(document.tokens)
    num_tokens = sum(by_source.values())
    return SplitReport(
        num_documents=len(documents),
        num_tokens=num_tokens,
        num_loss_tokens=int(in_loss.sum()),
        num_rows=num_rows,
        fill_fraction=num_tokens / max(num_rows * context_tokens, 1),
        tokens_by_source=dict(sorted(by_source.items())),
    )


def _write_index(pieces: list[Piece], documents: list[TokenizedDocument], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    owners = [documents[piece.document] for piece in pieces]
    columns = {
        "row": pa.array([piece.row for piece in pieces], pa.uint32()),
        "start": pa.array([piece.start for piece in pieces], pa.uint32()),
        "length": pa.array([piece.length for piece in pieces], pa.uint32()),
        "document_id": pa.array([owner.document_id for owner in owners], pa.string()),
        "source": pa.array([owner.source for owner in owners], pa.string()),
        "domain": pa.array([owner.domain for owner in owners], pa.string()),
        "document_start": pa.array([piece.document_start for piece in pieces], pa.uint32()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")
