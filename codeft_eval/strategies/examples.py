"""The examples that a prompt itself states: a call of the function, and the value that it should return.

They stand in the docstring, as ``>>> f(1)`` with the value below, or as ``f(1) == 2`` and its like. The tests of a
benchmark are never read: a function here takes the prompt's text and nothing else of the item.
"""

from __future__ import annotations

import ast
import doctest
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_ARROW = re.compile(r"\s*(?:==|#?\s*=>|->|➞|→|=|# returns|should return|returns?)\s*")
_ENDED = re.compile(r"\s*($|[.,;:)#])|\s+[A-Za-z(]")
"""After a literal: the line's end, punctuation, or words of their own."""
_PARSER = doctest.DocTestParser()
_SAME = """
def same(found, wanted):
    if isinstance(found, float) or isinstance(wanted, float):
        return isinstance(found, (int, float)) and abs(found - wanted) <= 1e-6 * max(1.0, abs(wanted))
    return found == wanted
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One statement of a prompt."""

    call: str
    """An expression with a call of the function, or a statement that prepares one."""
    expected: str
    """A literal; empty for a statement that prepares."""

    def __str__(self) -> str:
        return f"{self.call} should return {self.expected}"


def find_examples(prompt: str, entry_point: str) -> list[Example]:
    """Return the examples of a prompt, in order; none where its docstring has no call with a literal value."""
    docstring = _docstring(prompt, entry_point)
    found = list(_doctests(docstring, entry_point)) or list(_arrows(docstring, entry_point))
    return found if any(example.expected for example in found) else []


def examples_test(examples: list[Example]) -> str:
    """Return test code that asserts the examples, each on a line of its own."""
    lines = [f"assert same({one.call}, {one.expected})" if one.expected else one.call for one in examples]
    return f"{_SAME}\ndef check(candidate):\n" + "".join(f"    {line}\n" for line in lines)


def failing_example(examples: list[Example], detail: str) -> str:
    """Return the example whose assertion a grade's ``detail`` quotes, in words; the detail where it quotes none."""
    quoted = [one for one in examples if one.expected and f"assert same({one.call}, {one.expected})" == detail]
    return str(quoted[0]) if quoted else detail


def literal_arguments(example: Example, entry_point: str) -> tuple[object, ...] | None:
    """Return the arguments of the first call of the function in an example; None where they are no literals."""
    for node in ast.walk(ast.parse(example.call)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry_point:
            try:
                return None if node.keywords else tuple(ast.literal_eval(argument) for argument in node.args)
            except ValueError:
                return None
    return None


def parse_prompt(prompt: str) -> ast.Module | None:
    """Return the tree of a prompt, whose last function may have no body yet; None where it is no Python."""
    return _parse(prompt) or _parse(f"{prompt.rstrip()}\n    pass\n")


def function_of(prompt: str, entry_point: str) -> ast.FunctionDef | None:
    """Return the definition of the function that a prompt begins; None where it is no Python, or begins another."""
    tree = parse_prompt(prompt)
    named = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)) if tree else ()
    return next((node for node in named if node.name == entry_point), None)


def _docstring(prompt: str, entry_point: str) -> str:
    function = function_of(prompt, entry_point)
    return (ast.get_docstring(function) or "") if function else ""


def _doctests(docstring: str, entry_point: str) -> Iterator[Example]:
    try:
        statements = _PARSER.get_examples(docstring)
    except ValueError:  # an inconsistent indentation
        return
    for statement in statements:
        source, want = statement.source.strip(), statement.want.strip()
        if "\n" in source:
            continue
        if not want and _is_assignment(source):
            yield Example(_plain(source), "")
        elif _is_call(source, entry_point) and _is_literal(want):
            yield Example(_plain(source), _plain(want))


def _arrows(docstring: str, entry_point: str) -> Iterator[Example]:
    """Yield examples like ``f([1]) ➞ 2``: the shortest call that parses, an arrow, the longest literal after it."""
    for match in re.finditer(rf"(?<![\w.]){re.escape(entry_point)}\(", docstring):
        line = docstring[match.start() :].split("\n")[0]
        ends = (place for place, letter in enumerate(line, 1) if letter == ")")
        end = next((end for end in ends if _is_call(line[:end], entry_point)), None)
        arrow = _ARROW.match(line, end) if end else None
        if end and arrow:
            expected = _leading_literal(line[arrow.end() :])
            example = Example(_plain(line[:end]), _plain(expected))
            if expected and literal_arguments(example, entry_point) is not None:
                yield example


def _leading_literal(text: str) -> str:
    """Return the longest literal that a text begins with; empty where a calculation or a typing error goes on."""
    lengths = range(len(text), 0, -1)
    length = next((length for length in lengths if _is_literal(text[:length].strip())), 0)
    return text[:length].strip() if _ENDED.match(text, length) else ""


def _plain(source: str) -> str:
    """Return source on one line, without comments."""
    return ast.unparse(ast.parse(source))


def _is_call(source: str, entry_point: str) -> bool:
    tree = _parse(source)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    return any(isinstance(node, ast.Name) and node.id == entry_point for node in ast.walk(tree))


def _is_assignment(source: str) -> bool:
    tree = _parse(source)
    return tree is not None and len(tree.body) == 1 and isinstance(tree.body[0], ast.Assign)


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _parse(source: str) -> ast.Module | None:
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
