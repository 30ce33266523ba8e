"""The two languages that bodies are written in: their statements, and their expressions over the elements of a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codeft_assets.exercises.composition import ALL, ANY, COUNT
from codeft_assets.exercises.primitives.primitive import Loop, Primitive

Block = str | tuple[str, list["Block"]]
"""A statement, or a header with the statements below it."""
COMPREHENSION, FUNCTIONAL = "comprehension", "functional"


@dataclass(frozen=True, slots=True)
class Stream:
    """Elements on their way through tests and one change: they become a list, a dictionary or a number when written."""

    source: str
    item: str
    """The variable of an element; of an entry, its key and value."""
    element: str
    """The changed element; of an entry, its value."""
    tests: tuple[str, ...] = ()
    is_dictionary: bool = False

    @property
    def is_changed(self) -> bool:
        """Whether elements are no longer those of the source."""
        return self.element != self.item.split(", ")[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """A language: templates of statements, and functions that write the expressions of a stream."""

    name: str
    indent: str
    header: str
    closing: str
    assign: str
    finish: str
    for_each: str
    for_entry: str
    condition: str
    negated: str
    append: str
    put: str
    conjunction: str
    true: str
    false: str
    empty_dictionary: str
    expression: Callable[[Primitive], str]
    iterable: Callable[[Primitive], str]
    loop: Callable[[Primitive], Loop | None]
    collect: Callable[[Stream, str], str]
    """The expression of the list or the dictionary of a stream, in a style."""
    decide: Callable[[Stream, str, str], str]
    """The expression of ``count``, ``any`` or ``all`` of a stream, in a style."""

    def render(self, blocks: Sequence[Block], depth: int = 1) -> str:
        """Return the text of statements, each on a line of its own."""
        return "".join(self._lines(block, self.indent * depth, depth) for block in blocks)

    def _lines(self, block: Block, indent: str, depth: int) -> str:
        if isinstance(block, str):
            return f"{indent}{block}\n"
        header, body = block
        closing = f"{indent}{self.closing}\n" if self.closing else ""
        return f"{indent}{header}{self.header}\n{self.render(body, depth + 1)}{closing}"


def _where(stream: Stream, word: str = " if ") -> str:
    return word + " and ".join(stream.tests) if stream.tests else ""


def _python_comprehension(stream: Stream) -> str:
    if stream.is_dictionary:
        key, _ = stream.item.split(", ")
        return f"{{{key}: {stream.element} for {stream.item} in {stream.source}.items(){_where(stream)}}}"
    return f"[{stream.element} for {stream.item} in {stream.source}{_where(stream)}]"


def _python_functional(stream: Stream) -> str:
    if stream.is_dictionary:
        return _python_comprehension(stream)
    found = stream.source
    if stream.tests:
        found = f"filter(lambda {stream.item}: {' and '.join(stream.tests)}, {found})"
    if stream.is_changed:
        found = f"map(lambda {stream.item}: {stream.element}, {found})"
    return f"list({found})"


def _python_collect(stream: Stream, style: str) -> str:
    return _python_functional(stream) if style == FUNCTIONAL else _python_comprehension(stream)


def _python_decide(stream: Stream, use: str, style: str) -> str:
    *tests, last = stream.tests
    condition = " and ".join(stream.tests)
    if use == COUNT and style == FUNCTIONAL:
        return f"len(list(filter(lambda {stream.item}: {condition}, {stream.source})))"
    if use == COUNT:
        return f"sum(1 for {stream.item} in {stream.source} if {condition})"
    if style == FUNCTIONAL and not tests:
        return f"{use}(map(lambda {stream.item}: {last}, {stream.source}))"
    where = f" if {' and '.join(tests)}" if tests else ""
    return f"{use}({last} for {stream.item} in {stream.source}{where})"


def _python_iterable(primitive: Primitive) -> str:
    return primitive.iterable[0] if primitive.iterable else primitive.python


PYTHON = Syntax(
    name="python",
    indent="    ",
    header=":",
    closing="",
    assign="{name} = {value}",
    finish="return {value}",
    for_each="for {item} in {source}",
    for_entry="for {item} in {source}.items()",
    condition="if {test}",
    negated="if not ({test})",
    append="{name}.append({value})",
    put="{name}[{key}] = {value}",
    conjunction=" and ",
    true="True",
    false="False",
    empty_dictionary="{}",
    expression=lambda primitive: primitive.python,
    iterable=_python_iterable,
    loop=lambda primitive: primitive.loop[0] if primitive.loop else None,
    collect=_python_collect,
    decide=_python_decide,
)


def _javascript_collect(stream: Stream, style: str) -> str:
    del style  # one way only: the methods of arrays
    item = f"([{stream.item}])" if stream.is_dictionary else f"({stream.item})"
    found = f"Object.entries({stream.source})" if stream.is_dictionary else _receiver(stream.source)
    if stream.tests:
        found += f".filter({item} => {' && '.join(stream.tests)})"
    if stream.is_dictionary:
        key, _ = stream.item.split(", ")
        changed = f".map({item} => [{key}, {stream.element}])" if stream.is_changed else ""
        return f"Object.fromEntries({found}{changed})"
    return f"{found}.map({item} => {stream.element})" if stream.is_changed else found


def _javascript_decide(stream: Stream, use: str, style: str) -> str:
    del style
    *tests, last = stream.tests
    found = _receiver(stream.source)
    if use == COUNT:
        return f"{found}.filter(({stream.item}) => {' && '.join(stream.tests)}).length"
    if tests:
        found += f".filter(({stream.item}) => {' && '.join(tests)})"
    return f"{found}.{ {ANY: 'some', ALL: 'every'}[use] }(({stream.item}) => {last})"


def _receiver(source: str) -> str:
    return source if is_atom(source) else f"({source})"


JAVASCRIPT = Syntax(
    name="javascript",
    indent="  ",
    header=" {",
    closing="}",
    assign="const {name} = {value};",
    finish="return {value};",
    for_each="for (const {item} of {source})",
    for_entry="for (const [{item}] of Object.entries({source}))",
    condition="if ({test})",
    negated="if (!({test}))",
    append="{name}.push({value});",
    put="{name}[{key}] = {value};",
    conjunction=" && ",
    true="true",
    false="false",
    empty_dictionary="{}",
    expression=lambda primitive: primitive.javascript,
    iterable=lambda primitive: primitive.javascript,
    loop=lambda primitive: primitive.loop[1] if primitive.loop else None,
    collect=_javascript_collect,
    decide=_javascript_decide,
)
SYNTAXES = {syntax.name: syntax for syntax in (PYTHON, JAVASCRIPT)}

_STRING = re.compile(r"'[^']*'")
_GROUPS = re.compile(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}")


def is_atom(expression: str) -> bool:
    """Return whether an expression needs no parentheses inside another one."""
    previous, expression = None, _STRING.sub("_", expression)
    while previous != expression:
        previous, expression = expression, _GROUPS.sub("_", expression)
    return re.fullmatch(r"[\w.]+", expression) is not None


def substitute(template: str, value: str) -> str:
    """Return ``template`` with ``value`` for ``$x``, in parentheses where the two would otherwise bind wrongly."""
    if is_atom(value):
        return template.replace("$x", value)
    alone = re.sub(r"(?<=\()\$x(?=[,)])", lambda found: value, template)  # the only thing between ( and , or )
    return alone.replace("$x", f"({value})")
