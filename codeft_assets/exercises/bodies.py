"""The body of a function: the moves of a composition as statements, in one of three styles.

Invariant: the three styles of a composition have equal values. Elements go through tests and a change as a stream,
which is written when its list, its number or the value of the function is needed; so ``keep`` and ``each`` become one
comprehension, one loop or one chain of calls.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from codeft_assets.exercises.composition import (
    ALL,
    ANY,
    APPLY,
    COUNT,
    EACH,
    EACH_VALUE,
    KEEP,
    KEEP_KEYS,
    KEEP_VALUES,
    Composition,
    Move,
)
from codeft_assets.exercises.primitives.primitive import CHARS, COUNTS, INTS, PARAMETER, ROWS, STRS, Loop, accumulate
from codeft_assets.exercises.syntax import COMPREHENSION, FUNCTIONAL, PYTHON, Block, Stream, Syntax, is_atom, substitute

LOOP = "loop"
STYLES = (COMPREHENSION, LOOP, FUNCTIONAL)
_MAX_INLINE = 60
"""Characters of an expression that may be written into another one."""
_ITEMS = {
    INTS: ("x", "n", "value", "num"),
    STRS: ("word", "w", "item"),
    CHARS: ("char", "ch", "letter"),
    ROWS: ("row", "line"),
    COUNTS: ("key, value", "name, amount", "word, count"),
}
_NAMES = {
    INTS: ("selected", "result", "found", "chosen"),
    STRS: ("selected", "result", "found", "chosen"),
    CHARS: ("chars", "found", "result", "chosen"),
    ROWS: ("selected", "result", "parts", "chosen"),
    COUNTS: ("entries", "result", "mapping", "chosen"),
}
_SINGLE_NAMES = ("current", "intermediate", "found", "base")
_MAX_SOURCE = 32
"""Characters of an expression that a loop may go over."""
_GENERATOR = re.compile(r"(sum|max|min|sorted|set|join|fromkeys)\(\$x\)| in \$x[\])]")
"""Places in Python that need no list."""


COUNTING = accumulate("count = 0", "count += 1")


class BodyWriter:
    """Writes the moves one by one; ``blocks`` are the statements so far."""

    def __init__(self, syntax: Syntax, style: str, arguments: Sequence[str], rng: random.Random) -> None:
        self._syntax, self._style, self._rng = syntax, style, rng
        self._used = set(arguments)
        self._value: str | Stream = arguments[0]
        self._type = ""
        self.blocks: list[Block] = []

    def write(self, composition: Composition, parameters: Sequence[str]) -> list[Block]:
        """Return the statements of a function; ``parameters`` are the moves' as code."""
        self._type = composition.takes
        last = len(composition.moves) - 1
        for number, (move, parameter) in enumerate(zip(composition.moves, parameters, strict=True)):
            self._add(move, parameter, is_last=number == last)
            self._type = move.gives
        if self._value != "":
            self.blocks.append(self._syntax.finish.format(value=self._expression()))
        return self.blocks

    def _add(self, move: Move, parameter: str, *, is_last: bool) -> None:
        if move.use == APPLY:
            self._apply(move, parameter, is_last=is_last)
            return
        template = self._syntax.expression(move.primitive).replace(PARAMETER, parameter)
        stream = self._stream()
        if stream.is_changed:
            self._value = self._named(stream)
            stream = self._stream()
        *_, value = names = stream.item.split(", ")
        if move.use in {EACH, EACH_VALUE}:
            self._value = replace(stream, element=substitute(template, value))
            return
        test = substitute(template, names[0] if move.use == KEEP_KEYS else value)
        stream = replace(stream, tests=(*stream.tests, test))
        if move.use in {KEEP, KEEP_KEYS, KEEP_VALUES}:
            self._value = stream
        else:
            self._decide(stream, move.use, is_last=is_last)

    def _stream(self) -> Stream:
        if isinstance(self._value, Stream):
            return self._value
        item = self._new_name(_ITEMS[self._type])
        is_dictionary = self._type == COUNTS
        source = self._value
        if len(source) > _MAX_SOURCE or not is_atom(source):
            source = self._assign(source, self._type)
        return Stream(source, item, item.split(", ")[-1], is_dictionary=is_dictionary)

    def _apply(self, move: Move, parameter: str, *, is_last: bool) -> None:
        loop = self._syntax.loop(move.primitive)
        if self._style == LOOP and loop is not None:
            self._accumulate(self._stream(), loop)
            return
        template = self._syntax.expression(move.primitive).replace(PARAMETER, parameter)
        inner = self._expression(is_generator=_GENERATOR.search(template) is not None)
        is_repeated = template.count("$x") > 1 and re.fullmatch(r"\w+", inner) is None
        if is_repeated or len(inner) > _MAX_INLINE or (self._style == LOOP and not is_atom(inner)):
            inner = self._assign(self._expression(), self._type)
        iterates = not is_last and move.primitive.iterable is not None
        if iterates:
            template = self._syntax.iterable(move.primitive).replace(PARAMETER, parameter)
        self._value = substitute(template, inner)
        if iterates and move.gives in _ITEMS:
            self._value = self._lazy(move, parameter, inner)

    def _lazy(self, move: Move, parameter: str, inner: str) -> Stream:
        """Return the elements of a value without making a list of them."""
        source = substitute(self._syntax.iterable(move.primitive).replace(PARAMETER, parameter), inner)
        item = self._new_name(_ITEMS[move.gives])
        return Stream(source, item, item)

    def _accumulate(self, stream: Stream, loop: Loop) -> None:
        name = self._new_name((loop.result,))
        start, step = (re.sub(rf"\b{loop.result}\b", name, part) for part in (loop.start, loop.step))
        self.blocks += [start, self._over(stream, [substitute(step, stream.element)])]
        self._value = name

    def _decide(self, stream: Stream, use: str, *, is_last: bool) -> None:
        if self._style != LOOP:
            self._value = self._syntax.decide(stream, use, self._style)
            return
        if use == COUNT:
            self._accumulate(stream, COUNTING[self._syntax is not PYTHON])
            return
        assert is_last, "nothing takes a bool"
        self.blocks += self._search(stream, use)
        self._value = ""

    def _search(self, stream: Stream, use: str) -> list[Block]:
        found, otherwise = self._syntax.true, self._syntax.false
        if use == ALL:
            found, otherwise = otherwise, found
        *tests, last = stream.tests
        condition = (self._syntax.condition if use == ANY else self._syntax.negated).format(test=last)
        body: list[Block] = [(condition, [self._syntax.finish.format(value=found)])]
        return [self._over(replace(stream, tests=tuple(tests)), body), self._syntax.finish.format(value=otherwise)]

    def _over(self, stream: Stream, body: list[Block]) -> Block:
        syntax = self._syntax
        if stream.tests:
            body = [(syntax.condition.format(test=syntax.conjunction.join(stream.tests)), body)]
        header = syntax.for_entry if stream.is_dictionary else syntax.for_each
        return header.format(item=stream.item, source=stream.source), body

    def _expression(self, *, is_generator: bool = False) -> str:
        """Return the value so far as an expression."""
        if not isinstance(self._value, Stream):
            return self._value
        stream = self._value
        if self._style == LOOP:
            return self._named(stream)
        if not stream.tests and not stream.is_changed and not stream.is_dictionary:
            return stream.source if is_generator or self._syntax is not PYTHON else f"list({stream.source})"
        text = self._syntax.collect(stream, self._style)
        if is_generator and self._syntax is PYTHON and not stream.is_dictionary:
            return text[1:-1] if text.startswith("[") else text.removeprefix("list(")[:-1]
        return text

    def _named(self, stream: Stream) -> str:
        """Return the name of a variable that holds the elements of a stream."""
        kind = self._type
        if self._style != LOOP:
            return self._assign(self._syntax.collect(stream, self._style), kind)
        name = self._new_name(_NAMES[kind])
        if stream.is_dictionary:
            key, _ = stream.item.split(", ")
            start, step = (
                self._syntax.empty_dictionary,
                self._syntax.put.format(name=name, key=key, value=stream.element),
            )
        else:
            start, step = "[]", self._syntax.append.format(name=name, value=stream.element)
        self.blocks += [self._syntax.assign.format(name=name, value=start), self._over(stream, [step])]
        return name

    def _assign(self, expression: str, kind: str) -> str:
        name = self._new_name(_NAMES.get(kind, _SINGLE_NAMES))
        self.blocks.append(self._syntax.assign.format(name=name, value=expression))
        return name

    def _new_name(self, names: Sequence[str]) -> str:
        free = [name for name in names if not self._used & set(name.split(", "))]
        chosen = self._rng.choice(free or [re.sub(r"\b\w+", r"\g<0>_2", names[0])])
        self._used |= set(chosen.split(", "))
        return chosen


def write_body(
    composition: Composition,
    parameters: Sequence[str],
    arguments: Sequence[str],
    *,
    syntax: Syntax,
    style: str,
    rng: random.Random,
) -> str:
    """Return the indented statements of a function of ``arguments``; the first of them is the value."""
    return syntax.render(BodyWriter(syntax, style, arguments, rng).write(composition, parameters))
