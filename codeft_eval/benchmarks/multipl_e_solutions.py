"""Stand-ins for MultiPL-E's missing solutions: a program that gives, for each call that the tests make, their answer.

It shows that the harness accepts a right answer on every item, compilers included; it proves nothing about the problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from codeft_eval.benchmarks.benchmark import Item

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class _Case:
    """One test: the arguments of a call and the value it must return, as source text."""

    arguments: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """The form of a language's tests, and of its table."""

    call: str
    """The text before the arguments, as a regular expression."""
    until: tuple[str, ...]
    """The texts between the arguments and the expected value, and the one after it."""
    row: Callable[[Sequence[str], _Case], str]
    ending: str
    has_names_first: bool = False
    """In the signature: ``lst []int``, not ``long lst``."""


def table_solution(item: Item) -> str:
    """Return a completion that passes the item's tests.

    Raises:
        ValueError: the tests are not of the form that their language's file has.
    """
    style = _STYLES[item.language]
    cases = list(_cases(item, style))
    if not cases:
        raise ValueError(
            f"{item.task_id} in {item.language}: no test of the form {style.call!r} in {item.test[:200]!r}"
        )
    names = _parameters(item.prompt, style)
    return "".join(style.row(names, case) for case in cases) + style.ending


def _cases(item: Item, style: _Style) -> Iterator[_Case]:
    function = re.findall(r"(\w+)\s*\(", item.prompt.rstrip().splitlines()[-1])
    pattern = style.call.replace("FUNCTION", re.escape(function[0]) if function else "")
    for match in re.finditer(pattern, item.test, re.MULTILINE):
        end = _closing(item.test, match.end())
        rest = item.test[end + 1 :]
        between = next((mark for mark in style.until[:-1] if rest.startswith(mark)), None)
        if between is None:
            continue
        expected = rest[len(between) :]
        place = _end_of_value(expected, style.until[-1])
        yield _Case(item.test[match.end() : end], expected[:place])


def _closing(text: str, start: int) -> int:
    """Return the place of the bracket that closes the one before ``start``."""
    depth = 1
    for place, character in _outside_strings(text, start):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth == 0:
            return place
    raise ValueError(f"a bracket does not close in {text[start : start + 80]!r}")


def _end_of_value(text: str, ending: str) -> int:
    depth = 0
    for place, character in _outside_strings(text, 0):
        if depth == 0 and text.startswith(ending, place):
            return place
        depth += (character in _OPENING) - (character in _CLOSING)
    raise ValueError(f"a value does not end in {text[:80]!r}")


def _outside_strings(text: str, start: int) -> Iterator[tuple[int, str]]:
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


def split_arguments(text: str) -> list[str]:
    """Return the arguments of a call, separated at the commas of its own level."""
    depth, begin, parts = 0, 0, []
    for place, character in _outside_strings(text, 0):
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth == 0:
            parts.append(text[begin:place].strip())
            begin = place + 1
    return [*parts, text[begin:].strip()] if text.strip() else []


def _parameters(prompt: str, style: _Style) -> list[str]:
    """Return the names in the signature, which is the prompt's last line."""
    line = prompt.rstrip().splitlines()[-1]
    start = line.find("(") + 1
    if not start or line.rstrip().endswith("() {"):
        return []
    inside = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", line[start : _closing(line, start)]))
    inside = re.sub(r"<[^<>]*>", "", inside)
    return [_name(part, style) for part in split_arguments(inside)]


def _name(parameter: str, style: _Style) -> str:
    """Return ``lst`` of ``lst: Vec``, of ``long lst``, of ``lst []int`` and of ``lst``."""
    before_colon = parameter.split(":")[0] if ":" in parameter and "::" not in parameter.split(" ")[0] else ""
    words = re.findall(r"[\w$]+", before_colon or parameter)
    return words[0] if before_colon or style.has_names_first else words[-1]


def _equal_each(template: str) -> Callable[[Sequence[str], _Case], str]:
    """Return a condition on every parameter; ``P`` is its name and ``A`` the argument."""

    def row(names: Sequence[str], case: _Case) -> str:
        pairs = zip(names, split_arguments(case.arguments), strict=True)
        condition = " && ".join(template.replace("P", name).replace("@", value) for name, value in pairs) or "true"
        return f"    if ({condition}) {{ return {case.expected}; }}\n"

    return row


def _script_row(cast: str) -> Callable[[Sequence[str], _Case], str]:
    def row(_names: Sequence[str], case: _Case) -> str:
        given = "JSON.stringify(Array.from(arguments))"
        return f"  if ({given} === JSON.stringify([{case.arguments}])) {{ return ({case.expected}){cast}; }}\n"

    return row


def _go_row(names: Sequence[str], case: _Case) -> str:
    given, wanted = (f'fmt.Sprintf("%v", []interface{{}}{{{text}}})' for text in (", ".join(names), case.arguments))
    return f"\tif {given} == {wanted} {{ return {case.expected} }}\n"


def _shell_row(_names: Sequence[str], case: _Case) -> str:
    return (
        f"""    if [[ "$(printf '%s|' "$@")" = "$(printf '%s|' {case.arguments})" ]]; """
        f"""then printf '%s' {case.expected}; return; fi\n"""
    )


_SCRIPT = {"call": r"assert\.deepEqual\(candidate\(", "until": (",", ")"), "ending": "}\n"}
_STYLES = {
    "javascript": _Style(**_SCRIPT, row=_script_row("")),
    "typescript": _Style(**_SCRIPT, row=_script_row(" as any")),
    "cpp": _Style(
        call=r"assert\(candidate\(", until=(" == ", ")"), row=_equal_each("(P == (@))"), ending="    throw 1;"
    ),
    "java": _Style(
        call=r"assert\(FUNCTION\(",
        until=(" == ", ".equals(", ")"),
        row=_equal_each("Objects.equals(P, @)"),
        ending="    throw new RuntimeException();",
    ),
    "go": _Style(
        call=r"actual: candidate\(",
        until=(", expected: ", " }"),
        row=_go_row,
        ending='\tpanic("")\n}\n',
        has_names_first=True,
    ),
    "rust": _Style(
        call=r"assert_eq!\(candidate\(", until=(", ", ")"), row=_equal_each("P == @"), ending="    panic!()"
    ),
    "shell": _Style(call=r"\[\[ \$\(candidate ?", until=(" = ", " ]]"), row=_shell_row, ending="    return 1"),
}
