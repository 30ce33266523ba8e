"""Stand-ins for MultiPL-E's missing solutions: a program that gives, for each call that the tests make, their answer.

It shows that the harness accepts a right answer on every item, compilers included; it proves nothing about the problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.sandbox.native.signature import closing_bracket, end_of_value, read_signature, split_arguments


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
    names = read_signature(item.prompt, has_names_first=style.has_names_first).parameters
    return "".join(style.row(names, case) for case in cases) + style.ending


def _cases(item: Item, style: _Style) -> Iterator[_Case]:
    function = re.findall(r"(\w+)\s*\(", item.prompt.rstrip().splitlines()[-1])
    pattern = style.call.replace("FUNCTION", re.escape(function[0]) if function else "")
    for match in re.finditer(pattern, item.test, re.MULTILINE):
        end = closing_bracket(item.test, match.end())
        rest = item.test[end + 1 :]
        between = next((mark for mark in style.until[:-1] if rest.startswith(mark)), None)
        if between is None:
            continue
        expected = rest[len(between) :]
        place = end_of_value(expected, style.until[-1])
        yield _Case(item.test[match.end() : end], expected[:place])


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
