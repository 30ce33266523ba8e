"""The document: the one record type, with its schema, its identity and its content hash.

Invariant: ``document_id`` depends only on the source's name and the row's name upstream, or its content where it has
none; ``content_hash`` only on the normalized text. Neither depends on the revision, on the file or the place in it, on
the shard or the machine. A row that comes again in its source gets a number: ``repeated_id``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import xxhash

DOMAINS = ("code", "math", "reasoning")
FORMATS = ("raw", "instruct", "textbook", "cot", "review", "agent")
ROLES = ("system", "user", "assistant")
CHARS_PER_TOKEN = 3.3
"""Estimates tokens before there is a tokenizer: Qwen 2.5's has 3.1 to 4.2 on Python and English; ours is smaller."""

MESSAGE_TYPE = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("source_row", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("messages", MESSAGE_TYPE),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("num_chars", pa.uint32(), nullable=False),
        pa.field("content_hash", pa.binary(16), nullable=False),
        pa.field("license", pa.string(), nullable=False),
    ]
)

REJECT_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("source_row", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("row", pa.large_string(), nullable=False),
    ]
)

DOCUMENT_COLUMNS = {
    "document_id": "xxh3-128 of source name and the row's name upstream, or its content: stable when rows move",
    "source": "the catalogue entry the document comes from",
    "revision": "the upstream commit or content hash it was read at",
    "source_row": "the row's key upstream: file and row number",
    "domain": "code, math or reasoning",
    "format": "raw, instruct, textbook, cot, review or agent",
    "language": "programming language of the code; text if there is none",
    "messages": "the turns of a conversation (system, user, assistant); null for plain text",
    "text": "the text that filters, deduplication and training read",
    "num_chars": "length of text in characters",
    "content_hash": "xxh3-128 of the text's bytes: equal for exact duplicates",
    "license": "the source's license",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r} is not one of {ROLES}; map it in the source's adapter")


def document_id(source: str, key: str) -> str:
    """Return 32 hex digits that name a document: ``key`` is its name upstream, or its content.

    Example:
        >>> document_id("o1-journey", "1 + 1?") == document_id("o1-journey", "1 + 1?")
        True
    """
    return xxhash.xxh3_128_hexdigest(f"{source}\x1f{key}".encode(errors="surrogatepass"))


def repeated_id(first_id: str, number: int) -> str:
    """Return the id of the ``number``-th repetition of the document ``first_id`` in its source."""
    return xxhash.xxh3_128_hexdigest(f"{first_id}#{number}")


def storable(text: str) -> str:
    """Return ``text`` with halves of surrogate pairs written as escapes: names of files that are no UTF-8 have them."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def content_hash(text: str) -> bytes:
    """Return the 16-byte hash of ``text``, byte for byte: indentation and case are part of a program."""
    return xxhash.xxh3_128_digest(text.encode(errors="surrogatepass"))


def folded_hash(text: str) -> str:
    """Return 32 hex digits that stay when white space, case or accents' forms change, as labels name samples."""
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return xxhash.xxh3_128_hexdigest(" ".join(text.split()).lower())


def join_turns(messages: Sequence[Message]) -> str:
    """Return the text of a conversation: its turns joined by blank lines."""
    return "\n\n".join(message.content for message in messages)
