"""Upstream row -> documents. A source declares column names in the common case and names a function for an odd shape.

Invariant: an adapter returns every part of a row as a draft or as a reject, or raises ``BadRowError``; no part
of a row is lost without a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from codeft_assets.curation.documents import Message, join_turns
from codeft_assets.curation.ingest.normalize import language_from_path, normalize_text

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
    if not text:
        raise BadRowError("empty_text", f"column {name!r} is empty")
    return text


def optional_column(row: Row, name: str) -> str:
    """Return a text column, normalized; empty where the row has none, or a phrase such as "n/a"."""
    value = row.get(name)
    if not isinstance(value, str):
        return ""
    text = normalize_text(value)
    return "" if text.lower() in _NOT_APPLICABLE else text


def first_column(row: Row, names: Sequence[str]) -> str:
    """Return the first of ``names`` that the row has: for upstreams whose columns are not documented."""
    for name in names:
        if name in row:
            return column(row, name)
    raise BadRowError("missing_column", f"none of the columns {list(names)}; row has {sorted(row)}")


def conversation(turns: Iterable[tuple[str, str]]) -> list[Draft]:
    """Return one draft of ``(role, content)`` turns; empty system turns are left out.

    Raises:
        BadRowError: a turn is empty, or there is no user turn before an assistant's.
    """
    messages = [Message(role, normalize_text(content)) for role, content in turns]
    messages = [message for message in messages if message.content or message.role != "system"]
    if any(not message.content for message in messages):
        raise BadRowError("empty_turn", f"an empty turn among {[message.role for message in messages]}")
    spoken = [message.role for message in messages if message.role != "system"]
    if spoken[:1] != ["user"] or "assistant" not in spoken:
        raise BadRowError("no_exchange", f"roles are {spoken}; a user's turn and an assistant's answer are needed")
    return [Draft(text=join_turns(messages), messages=tuple(messages))]


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
    """A column appended to the prompt unless it is empty."""

    def __call__(self, row: Row) -> list[Draft]:
        """Return the one exchange of ``row``."""
        prompt, response = first_column(row, self.prompt), first_column(row, self.response)
        extra = optional_column(row, self.extra)
        user = f"{prompt}\n\n{extra}" if extra and extra not in prompt else prompt
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


def long_chain_of_thought(row: Row) -> list[Draft]:
    """o1-journey: a long chain of thought that ends with the answer again after ``####``."""
    reasoning, _, closing = column(row, "longCOT").rpartition("####")
    answer = optional_column(row, "answer") or normalize_text(closing)
    if not answer:
        raise BadRowError("empty_text", "column 'answer' is empty and longCOT ends without '####'")
    return conversation(
        [("user", column(row, "question")), ("assistant", with_think_span(reasoning or closing, answer))]
    )


_ROLE_BY_NAME = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def turns(records: object, role_key: str, content_key: str) -> list[tuple[str, str]]:
    """Return ``(role, content)`` of a list of records.

    Raises:
        BadRowError: it is no list, or a record has no known role or no text.
    """
    if not isinstance(records, Sequence) or isinstance(records, str):
        raise BadRowError("wrong_type", f"turns are {type(records).__name__}, not a list")
    found = []
    for record in records:
        role = _ROLE_BY_NAME.get(str(record.get(role_key)).lower()) if isinstance(record, Mapping) else None
        if role is None or not isinstance(record.get(content_key), str):
            raise BadRowError("malformed_turn", f"turn {str(record)[:120]!r} needs {role_key!r} and {content_key!r}")
        found.append((role, record[content_key]))
    return found


def sharegpt_conversations(row: Row) -> list[Draft]:
    """SlimOrca: ``conversations`` of ``{from, value}``; the system turn is sometimes missing, so go by name."""
    if "conversations" not in row:
        raise BadRowError("missing_column", f"no column 'conversations'; row has {sorted(row)}")
    return conversation(turns(row["conversations"], "from", "value"))


def json_messages(row: Row) -> list[Draft]:
    """Orca-AgentInstruct: ``messages`` is a JSON string; an empty system turn comes first."""
    text = column(row, "messages")
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRowError("malformed_json", f"column 'messages': {error}") from error
    return conversation(turns(records, "role", "content"))


_PROMPT_KEYS = ("problem", "prompt", "question", "query", "task", "instruction", "user_query")
_ANSWER_KEYS = ("final_answer", "answer", "response", "conclusion", "function_call", "output", "result")


def whole_object(row: Row) -> list[Draft]:
    """CoT-O1: a file is one nested object whose keys differ per file; all other keys become the reasoning."""
    prompt_key = next((key for key in _PROMPT_KEYS if key in row), None)
    answer_key = next((key for key in _ANSWER_KEYS if key in row), None)
    if isinstance(row.get("messages"), Sequence) and not isinstance(row["messages"], str):
        return _tool_conversation(row, answer_key)
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


def _tool_conversation(row: Row, answer_key: str | None) -> list[Draft]:
    spoken = turns(row["messages"], "role", "content")
    if "functions" in row:
        spoken = [("system", f"You can call these functions:\n{json.dumps(row['functions'], indent=1)}"), *spoken]
    if answer_key is not None and spoken[-1][0] == "user":
        call = row[answer_key]
        spoken.append(("assistant", call if isinstance(call, str) else json.dumps(call, indent=1)))
    return conversation(spoken)


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
    if row.get("error"):
        raise BadRowError("unreadable_file", str(row["error"]))
    path = str(row.get("path", ""))
    license_name = row.get("license")
    return [
        Draft(
            text=column(row, "text"),
            language=language_from_path(path),
            license=license_name if isinstance(license_name, str) and license_name else None,
        )
    ]
