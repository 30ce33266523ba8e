"""Upstream row -> documents. A source declares column names in the common case and names a function for an odd shape.

Invariant: an adapter returns every part of a row as a draft or as a reject, or raises ``BadRowError``; no part
of a row is lost without a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codeft_assets.curation.ingest.drafts import (
    BadRowError,
    Draft,
    Row,
    column,
    conversation,
    first_column,
    optional_column,
)
from codeft_assets.curation.ingest.notebooks import is_notebook, notebook
from codeft_assets.curation.ingest.programming_languages import language_from_path
from codeft_assets.curation.ingest.turns import row_turns


def with_think_span(reasoning: str, answer: str) -> str:
    """Return an assistant turn with its reasoning in a ``<think>`` span, the one form that all sources share."""
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{answer.strip()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainText:
    """One text column; several names are tried in order."""

    columns: tuple[str, ...]
    path_column: str = ""
    """A column whose file suffix names the language."""

    def __call__(self, row: Row) -> list[Draft]:
        """Return the one document of ``row``."""
        path = row.get(self.path_column)
        language = language_from_path(path) if isinstance(path, str) else None
        return [Draft(text=first_column(row, self.columns), language=language)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptResponse:
    """One question and its answer, with an optional system column and an optional input below the question."""

    prompt: tuple[str, ...]
    response: tuple[str, ...]
    system: str = ""
    extra: str = ""
    """A column appended to the prompt unless it is empty, or the prompt has it in lines of its own."""

    def __call__(self, row: Row) -> list[Draft]:
        """Return the one exchange of ``row``."""
        prompt, response = first_column(row, self.prompt), first_column(row, self.response)
        extra = optional_column(row, self.extra)
        user = prompt if not extra or f"\n{extra}\n" in f"\n{prompt}\n" else f"{prompt}\n\n{extra}"
        return conversation([("system", optional_column(row, self.system)), ("user", user), ("assistant", response)])


def two_turn_dialogue(row: Row) -> list[Draft]:
    """Tess-Coder: a two-turn dialogue spread over four columns."""
    return conversation(
        [
            ("user", column(row, "instruction")),
            ("assistant", column(row, "original_answer")),
            ("user", column(row, "follow_up_question")),
            ("assistant", column(row, "claude_response")),
        ]
    )


_CLOSING_LINE = re.compile(r"(?:\A|\n)[ \t]*####[ \t]*(\S[^\n]*)\Z")


def long_chain_of_thought(row: Row) -> list[Draft]:
    """o1-journey: a long chain of thought whose last line is ``####`` and the answer again.

    Only that line is left out, and only where it says what the answer says: ``####`` begins headings, too.
    """
    reasoning, answer = column(row, "longCOT"), optional_column(row, "answer")
    closing = _CLOSING_LINE.search(reasoning)
    if closing and answer.strip() in {"", closing[1].strip()}:
        reasoning, answer = reasoning[: closing.start()], closing[1]
    if not answer:
        raise BadRowError("empty_text", "column 'answer' is empty and longCOT ends without '####'")
    said = with_think_span(reasoning, answer) if reasoning.strip() else answer
    return conversation([("user", column(row, "question")), ("assistant", said)])


def sharegpt_conversations(row: Row) -> list[Draft]:
    """SlimOrca: ``conversations`` of ``{from, value}``; the system turn is sometimes missing, so go by name."""
    return conversation(row_turns(row, "conversations"))


def json_messages(row: Row) -> list[Draft]:
    """Orca-AgentInstruct: ``messages`` is a list, or a JSON string of one; an empty system turn comes first."""
    return conversation(row_turns(row, "messages"))


_PROMPT_KEYS = ("problem", "prompt", "question", "query", "task", "instruction", "user_query")
_ANSWER_KEYS = ("final_answer", "answer", "response", "conclusion", "function_call", "output", "result")


def whole_object(row: Row) -> list[Draft]:
    """CoT-O1: a file is one nested object whose keys differ per file; all other keys become the reasoning."""
    prompt_key = next((key for key in _PROMPT_KEYS if key in row), None)
    answer_key = next((key for key in _ANSWER_KEYS if key in row), None)
    if isinstance(row.get("messages"), Sequence) and not isinstance(row["messages"], str):
        return conversation(row_turns(row, "messages", answer_key))
    if prompt_key is None or answer_key is None:
        raise BadRowError("missing_column", f"no prompt {_PROMPT_KEYS} or answer {_ANSWER_KEYS}; row has {sorted(row)}")
    reasoning = {key: value for key, value in row.items() if key not in {prompt_key, answer_key} and value is not None}
    answer = outline(row[answer_key])
    return conversation(
        [
            ("user", outline(row[prompt_key])),
            ("assistant", with_think_span(outline(reasoning), answer) if reasoning else answer),
        ]
    )


def outline(value: object, depth: int = 0) -> str:
    """Return nested JSON as readable text: keys become labels, lists become numbered steps."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        parts = [_labeled(key, inner, depth) for key, inner in value.items() if inner not in (None, "", [], {})]
        return "\n".join(parts)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(f"{indent}{i}. {outline(inner, depth + 1).strip()}" for i, inner in enumerate(value, 1))
    return f"{indent}{value}" if depth else str(value)


def _labeled(key: str, value: object, depth: int) -> str:
    label = f"{'  ' * depth}{str(key).replace('_', ' ').capitalize()}:"
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return f"{label}\n{outline(value, depth + 1)}"
    return f"{label} {value}"


def exercise(row: Row) -> list[Draft]:
    """An exercise: a solved function as plain text, or an exchange of ``prompt`` and ``response`` about one."""
    if "prompt" in row:
        return conversation([("user", column(row, "prompt")), ("assistant", column(row, "response"))])
    return [Draft(text=column(row, "text"), language=optional_column(row, "language") or None)]


def local_file(row: Row) -> list[Draft]:
    """A file of an installed package: its suffix names the language, its package the license."""
    path = str(row.get("path", ""))
    license_name = row.get("license")
    if is_notebook(path):
        return [replace(notebook(column(row, "text")), license=str(license_name) if license_name else None)]
    return [
        Draft(
            text=column(row, "text"),
            language=language_from_path(path),
            license=license_name if isinstance(license_name, str) and license_name else None,
        )
    ]
