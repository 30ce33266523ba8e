"""Drafts and rejects, which adapters return, and the columns and conversations that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from codeft_assets.curation.documents import Message, join_turns
from codeft_assets.curation.ingest.normalize import normalize_text

Row = Mapping[str, object]


class BadRowError(ValueError):
    """A row that cannot become a document: counted under ``reason`` and kept in the reject table."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The document that an adapter makes of a row, or of one part of it, before identity and provenance are added."""

    text: str
    messages: tuple[Message, ...] | None = None
    part: str = ""
    """Names the part of the row when a row holds several documents, else empty."""
    language: str | None = None
    """Known from a path; None lets the text decide."""
    license: str | None = None
    """Of this document, where it differs from the source's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A part of a row that is no document."""

    part: str
    reason: str
    detail: str
    text: str


Adapter = Callable[[Row], Sequence[Draft | Reject]]

_NOT_APPLICABLE = frozenset({"", "not applicable", "not applicable.", "n/a", "none", "<noinput>", "noinput"})


def column(row: Row, name: str) -> str:
    """Return a text column, normalized.

    Raises:
        BadRowError: the row has no such column, or no text in it.
    """
    if name not in row:
        raise BadRowError("missing_column", f"no column {name!r}; row has {sorted(row)}")
    value = row[name]
    if value is None:
        raise BadRowError("null_value", f"column {name!r} is null")
    if not isinstance(value, str):
        raise BadRowError("wrong_type", f"column {name!r} is {type(value).__name__}, not text: {str(value)[:80]!r}")
    text = normalize_text(value)
    if not text.strip():
        raise BadRowError("empty_text", f"column {name!r} is empty")
    return text


def optional_column(row: Row, name: str) -> str:
    """Return a text column, normalized; empty where the row has none, or a phrase such as "n/a"."""
    value = row.get(name)
    if not isinstance(value, str):
        return ""
    text = normalize_text(value)
    return "" if text.strip().lower() in _NOT_APPLICABLE else text


def first_column(row: Row, names: Sequence[str]) -> str:
    """Return the first of ``names`` that the row has: for upstreams whose columns are not documented."""
    for name in names:
        if name in row:
            return column(row, name)
    raise BadRowError("missing_column", f"none of the columns {list(names)}; row has {sorted(row)}")


def conversation(turns: Iterable[tuple[str, str]]) -> list[Draft]:
    """Return one draft of ``(role, content)`` turns; empty system turns, and empty turns at the end, are left out.

    Raises:
        BadRowError: an inner turn is empty, or there is no user turn before an assistant's.
    """
    messages = [Message(role, normalize_text(content)) for role, content in turns]
    messages = [message for message in messages if message.content.strip() or message.role != "system"]
    while messages and not messages[-1].content.strip():
        messages.pop()
    if any(not message.content.strip() for message in messages):
        raise BadRowError("empty_turn", f"an empty turn among {[message.role for message in messages]}")
    spoken = [message.role for message in messages if message.role != "system"]
    if spoken[:1] != ["user"] or "assistant" not in spoken:
        raise BadRowError("no_exchange", f"roles are {spoken}; a user's turn and an assistant's answer are needed")
    return [Draft(text=join_turns(messages), messages=tuple(messages))]
