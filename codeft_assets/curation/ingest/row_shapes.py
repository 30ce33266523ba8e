"""The common shapes of a row, known by the names of its columns: for files whose author is not asked for an adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codeft_assets.curation.ingest.adapters import (
    BadRowError,
    Draft,
    PromptResponse,
    Row,
    column,
    conversation,
    first_column,
    local_file,
    turns,
)
from codeft_assets.curation.ingest.normalize import language_from_path

MESSAGES = ("messages", "conversations", "conversation", "dialog")
PROMPTS = ("prompt", "instruction", "question", "problem", "query", "task")
RESPONSES = ("response", "completion", "canonical_solution", "output", "answer", "solution")
TEXTS = ("text", "content", "code", "body", "markdown")
PATHS = ("path", "file", "filename", "file_name", "max_stars_repo_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyShape:
    """Messages, else a prompt and its response, else one text; names that are given take the place of the usual ones.

    A prompt and its response are an exchange, or one text where ``is_exchange`` is false: a function's head and body.
    """

    text: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    response: tuple[str, ...] = ()
    is_exchange: bool = True

    def __call__(self, row: Row) -> list[Draft]:
        """Return the one document of ``row``."""
        if self.text:
            return _plain(row, self.text)
        messages = next((name for name in MESSAGES if name in row), None)
        if messages and not self.prompt:
            return conversation(_messages(row, messages))
        prompt, response = self.prompt or PROMPTS, self.response or RESPONSES
        if _has(row, prompt) and _has(row, response):
            return self._exchange(row, prompt, response)
        return _plain(row, TEXTS)

    def _exchange(self, row: Row, prompt: tuple[str, ...], response: tuple[str, ...]) -> list[Draft]:
        if self.is_exchange:
            return PromptResponse(prompt=prompt, response=response, system="system", extra="input")(row)
        head, body = first_column(row, prompt), _raw(row, response)
        return [Draft(text=f"{head}\n{body}", language=_language(row))]


def _plain(row: Row, names: tuple[str, ...]) -> list[Draft]:
    if row.get("error"):
        return local_file(row)
    return [Draft(text=first_column(row, names), language=_language(row))]


def _has(row: Row, names: Sequence[str]) -> bool:
    return any(name in row for name in names)


def _raw(row: Row, names: Sequence[str]) -> str:
    """Return a response whose first line keeps its indentation: it is the body of a function."""
    name = next(name for name in names if name in row)
    column(row, name)
    return str(row[name]).strip("\n")


def _language(row: Row) -> str | None:
    path = next((row[name] for name in PATHS if isinstance(row.get(name), str)), None)
    return language_from_path(str(path)) if path else None


def _messages(row: Row, name: str) -> list[tuple[str, str]]:
    records = row[name]
    if isinstance(records, str):
        try:
            records = json.loads(records)
        except json.JSONDecodeError as error:
            raise BadRowError("malformed_json", f"column {name!r}: {error}") from error
    first = records[0] if isinstance(records, Sequence) and records else None
    keys = ("from", "value") if isinstance(first, Mapping) and "from" in first else ("role", "content")
    return turns(records, *keys)
