"""The common shapes of a row, known by the names of its columns: for files whose author is not asked for an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codeft_assets.curation.ingest.adapters import PromptResponse
from codeft_assets.curation.ingest.drafts import Draft, Row, conversation, first_column
from codeft_assets.curation.ingest.notebooks import is_notebook, notebook
from codeft_assets.curation.ingest.programming_languages import language_from_path
from codeft_assets.curation.ingest.turns import row_turns

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
    notebook_outputs: bool = False
    """Text that the cells of a notebook printed is part of the document."""

    def __call__(self, row: Row) -> list[Draft]:
        """Return the one document of ``row``."""
        if self.text:
            return self._plain(row, self.text)
        messages = next((name for name in MESSAGES if name in row), None)
        if messages and not self.prompt:
            return conversation(row_turns(row, messages))
        prompt, response = self.prompt or PROMPTS, self.response or RESPONSES
        if _has(row, prompt) and _has(row, response):
            return self._exchange(row, prompt, response)
        return self._plain(row, TEXTS)

    def _exchange(self, row: Row, prompt: tuple[str, ...], response: tuple[str, ...]) -> list[Draft]:
        if self.is_exchange:
            return PromptResponse(prompt=prompt, response=response, system="system", extra="input")(row)
        head, body = first_column(row, prompt), first_column(row, response)
        return [Draft(text=f"{head}\n{body}", language=_language(row))]

    def _plain(self, row: Row, names: tuple[str, ...]) -> list[Draft]:
        text = first_column(row, names)
        if is_notebook(_path(row)):
            return [notebook(text, with_outputs=self.notebook_outputs)]
        return [Draft(text=text, language=_language(row))]


def _has(row: Row, names: Sequence[str]) -> bool:
    return any(name in row for name in names)


def _path(row: Row) -> str:
    return next((path for name in PATHS if isinstance(path := row.get(name), str)), "")


def _language(row: Row) -> str | None:
    return language_from_path(_path(row)) if _path(row) else None
