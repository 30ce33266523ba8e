"""A teacher's statement: one signature and its docstring, with calls as examples, or the reason why it is none.

Arguments and values are literals, so that tests are made of data and never of the teacher's code.
"""

from __future__ import annotations

import ast
import doctest
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codeft_assets.python_names import missing_imports, parse_module, with_imports, without_warnings

MAX_EXAMPLES = 4
"""Further ones are left out."""
MAX_EXAMPLE_CHARS = 160
UNKNOWN = object()
"""The value of an example that the teacher left out, or wrote as no literal: it is computed."""


class RejectedError(ValueError):
    """A text is no exercise: the reason, which is counted, and the finding."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A call of the docstring."""

    call: str
    value: Any
    """As the teacher wrote it, or ``UNKNOWN``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A function without its body."""

    name: str
    signature: str
    """From ``def`` to the colon, in one line."""
    imports: str
    """Lines that the signature needs."""
    prose: str
    """The docstring before its first example."""
    examples: tuple[Example, ...]

    @property
    def text(self) -> str:
        """Imports, signature and docstring, as HumanEval writes them."""
        return with_imports(self.imports, self.head([example.value for example in self.examples]))

    def head(self, values: Sequence[Any]) -> str:
        """Return signature and docstring with these values; an example of unknown value is left out."""
        lines = [*self.prose.splitlines(), ""]
        for example, value in zip(self.examples, values, strict=True):
            if value is not UNKNOWN:
                lines += [f">>> {example.call}", repr(value)]
        docstring = textwrap.indent("\n".join(lines), "    ").strip()
        quotes = 'r"""' if "\\" in docstring else '"""'
        return f'{self.signature}\n    {quotes}{docstring}\n    """\n'


def parse_statement(written: str, start: str = "def") -> Statement:
    """Return the statement that a teacher wrote after ``start``.

    Raises:
        RejectedError: it is no signature with a docstring and examples.
    """
    function = _function(_as_code(written, start))
    docstring = ast.get_docstring(function)
    if not docstring:
        raise RejectedError("no_docstring", function.name)
    try:
        found = doctest.DocTestParser().get_examples(docstring)
    except ValueError as error:
        raise RejectedError("malformed_example", str(error)) from error
    examples = tuple(_examples(found, function.name))[:MAX_EXAMPLES]
    prose = docstring.partition(">>>")[0].strip()
    if not examples:
        raise RejectedError("no_example", f"{len(found)} examples, none of them a call with literals")
    if not prose:
        raise RejectedError("no_docstring", "examples only")
    function.body = [ast.Pass()]
    signature = ast.unparse(function).removesuffix("    pass").rstrip()
    return Statement(
        name=function.name,
        signature=signature,
        imports=missing_imports(signature + " pass"),
        prose=prose,
        examples=examples,
    )


def _as_code(written: str, start: str) -> str:
    """Return the text as a module: stops cut the docstring's end off, chats put a fence around it."""
    text = unfenced(written)
    code = text if text.lstrip().startswith(("def ", "from ", "import ")) else start + text
    if code.count('"""') % 2 and not code.rstrip().endswith('"""'):
        code = code.rstrip() + '\n    """'
    return code.rstrip() + "\n    pass\n"


def unfenced(written: str) -> str:
    """Return the code of an answer: of its first fenced block, which the prompt may have begun, or all of it."""
    text = written.replace("\r\n", "\n")
    for fence in ("```python\n", "```py\n"):
        text = text.partition(fence)[2] or text
    return text.partition("\n```")[0]


def _function(code: str) -> ast.FunctionDef:
    try:
        module = parse_module(code)
    except SyntaxError as error:
        raise RejectedError("syntax", str(error)) from error
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    others = [node for node in module.body if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)]
    if len(functions) != 1 or others or functions[0].decorator_list:
        raise RejectedError("no_function", f"{len(functions)} functions and {len(others)} other statements")
    return functions[0]


def _examples(found: list[doctest.Example], name: str) -> list[Example]:
    """Return the examples that are a call of the function with literals, each call once."""
    kept: dict[str, Example] = {}
    for example in found:
        call = _literal_call(example.source, name)
        if call and len(call) <= MAX_EXAMPLE_CHARS:
            kept.setdefault(call, Example(call=call, value=_literal(example.want)))
    return list(kept.values())


@without_warnings()
def _literal_call(source: str, name: str) -> str:
    """Return a call of ``name`` whose arguments are literals; empty for anything else."""
    try:
        node = ast.parse(source.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != name:
            return ""
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            ast.literal_eval(argument)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return ""
    return "" if any(keyword.arg is None for keyword in node.keywords) else ast.unparse(node)


@without_warnings()
def _literal(want: str) -> Any:
    try:
        value = ast.literal_eval(want.strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return UNKNOWN
    return value if is_plain(value) else UNKNOWN


def is_plain(value: Any) -> bool:
    """Return whether a value is written the same in every run: no set of several, no value that is not itself."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(is_plain(part) for pair in value.items() for part in pair)
    is_number = isinstance(value, float) and not math.isnan(value)
    return is_number or isinstance(value, bool | int | str | bytes | None)
