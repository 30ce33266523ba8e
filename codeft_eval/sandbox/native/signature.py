"""The signature that a prompt ends with: the function's name, its parameters and the type of its result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The parts of a signature, as source text."""

    name: str
    parameters: tuple[str, ...]
    result: str
    """The text after the parameters: the type in languages that write it there."""


def read_signature(prompt: str, *, has_names_first: bool = False) -> Signature:
    """Return the signature in the prompt's last line; ``has_names_first`` for ``lst []int``, not ``long lst``.

    Raises:
        ValueError: the last line begins no function.
    """
    line = (prompt.rstrip().splitlines() or [""])[-1].strip()
    found = re.search(r"(\w+)\s*\(", line)
    if found is None:
        raise ValueError(f"no signature in {line[:200]!r}; the prompt's last line must begin the function")
    end = closing_bracket(line, found.end())
    inside = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", line[found.end() : end])))
    names = tuple(_name(part, has_names_first=has_names_first) for part in split_arguments(inside))
    return Signature(name=found[1], parameters=names, result=line[end + 1 :].rstrip("{ "))


def split_arguments(text: str) -> list[str]:
    """Return the arguments of a call, separated at the commas of its own level."""
    depth, begin, parts = 0, 0, []
    for place, character in outside_strings(text, 0):
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth == 0:
            parts.append(text[begin:place].strip())
            begin = place + 1
    return [*parts, text[begin:].strip()] if text.strip() else []


def closing_bracket(text: str, start: int) -> int:
    """Return the place of the bracket that closes the one before ``start``."""
    depth = 1
    for place, character in outside_strings(text, start):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth == 0:
            return place
    raise ValueError(f"a bracket does not close in {text[start : start + 80]!r}")


def end_of_value(text: str, ending: str) -> int:
    """Return the place of the first ``ending`` outside of brackets and strings."""
    depth = 0
    for place, character in outside_strings(text, 0):
        if depth == 0 and text.startswith(ending, place):
            return place
        depth += (character in _OPENING) - (character in _CLOSING)
    raise ValueError(f"a value does not end in {text[:80]!r}")


def outside_strings(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Yield places and characters that are no part of a quoted string, and the quotes themselves."""
    quote, is_escaped = "", False
    for place in range(start, len(text)):
        character = text[place]
        if quote:
            is_end = character == quote and not is_escaped
            is_escaped = character == "\\" and not is_escaped
            quote = "" if is_end else quote
            continue
        yield place, character
        quote = character if character in "\"'`" else ""


def _name(parameter: str, *, has_names_first: bool) -> str:
    """Return ``lst`` of ``lst: Vec``, of ``long lst``, of ``lst []int`` and of ``lst``."""
    before_colon = parameter.split(":")[0] if ":" in parameter and "::" not in parameter.split(" ")[0] else ""
    words = re.findall(r"[\w$]+", before_colon or parameter)
    return words[0] if before_colon or has_names_first else words[-1]
