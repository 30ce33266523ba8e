"""The turns of a conversation in the shapes that upstreams give them: ShareGPT, OpenAI, tools, lists and JSON text.

A tool's answer is a user turn in ``<tool_response>`` and a call an assistant's in ``<tool_call>``, as in Qwen 2.5's
template, so that no role but system, user and assistant is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from codeft_assets.curation.ingest.drafts import BadRowError, Row

_ROLE_BY_NAME = {
    **{"system": "system", "developer": "system", "human": "user", "user": "user"},
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bot", "model"), "assistant"),
}
_TOOL_CALLS = frozenset({"function_call", "tool_call"})
_TOOL_ANSWERS = frozenset({"tool", "function", "observation", "function_response", "tool_response"})
_KEYS = (("from", "value"), ("role", "content"))


def row_turns(row: Row, name: str, answer_key: str | None = None) -> list[tuple[str, str]]:
    """Return the ``(role, content)`` of the column ``name``, after the functions that the row declares, if any.

    Args:
        row: Its column ``name`` is a list of records, or JSON text of one.
        name: The column.
        answer_key: A column with the answer, where the turns end with the user's.

    Raises:
        BadRowError: there is no such column, it is no list, or a record has no known role or no text.
    """
    if name not in row:
        raise BadRowError("missing_column", f"no column {name!r}; row has {sorted(row)}")
    spoken = [_turn(record) for record in _records(row[name], name)]
    functions = row.get("functions") or row.get("tools")
    if functions:
        shown = functions if isinstance(functions, str) else json.dumps(functions, indent=1)
        spoken = [("system", f"You can call these functions:\n{shown}"), *spoken]
    if answer_key is not None and spoken[-1:] and spoken[-1][0] == "user":
        call = row[answer_key]
        spoken.append(("assistant", call if isinstance(call, str) else json.dumps(call, indent=1)))
    return spoken


def _records(value: object, name: str) -> Sequence[object]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise BadRowError("malformed_json", f"column {name!r}: {error}") from error
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise BadRowError("wrong_type", f"turns are {type(value).__name__}, not a list")
    return value


def _turn(record: object) -> tuple[str, str]:
    keys = next((keys for keys in _KEYS if isinstance(record, Mapping) and keys[0] in record), None)
    if keys is None or not isinstance(record, Mapping):
        raise BadRowError("malformed_turn", f"turn {str(record)[:120]!r} needs 'role' and 'content'")
    name, content = str(record[keys[0]]).lower(), _content(record.get(keys[1]))
    calls = record.get("tool_calls") or ()
    if content is None and isinstance(calls, Sequence) and calls:
        content = ""
    if content is None:
        raise BadRowError("malformed_turn", f"turn {str(record)[:120]!r} has no text in {keys[1]!r}")
    if name in _TOOL_CALLS:
        return "assistant", f"<tool_call>\n{content}\n</tool_call>"
    if name in _TOOL_ANSWERS:
        return "user", f"<tool_response>\n{content}\n</tool_response>"
    if name not in _ROLE_BY_NAME:
        raise BadRowError("malformed_turn", f"turn {str(record)[:120]!r} has the unknown role {name!r}")
    return _ROLE_BY_NAME[name], "\n".join([*([content] if content else []), *map(_call, calls)])


def _content(value: object) -> str | None:
    """Return the text of a turn, which may come in parts; None where it has none, or a part that is no text."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not value:
        return None
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in value]
    return "\n".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _call(call: object) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else call
    return f"<tool_call>\n{json.dumps(function, ensure_ascii=False)}\n</tool_call>"
