r"""The grammar of answers to math problems: LaTeX or plain text to nested tuples, ``(kind, *parts)``.

Numeric kinds, which ``math_values`` evaluates: number, symbol, add, multiply, divide, power, root, function, factorial.
The others are compared by parts: list, set, sequence (pairs and intervals), matrix, union, relation, text, based.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from codeft_eval.benchmarks.math_tokens import (
    FUNCTIONS,
    MAXIMUM_LENGTH,
    RELATIONS,
    SYMBOLS,
    Node,
    NotReadableError,
    Tokens,
    flat_text,
)

_MATRIX = re.compile(r"[pb]?matrix|array")


def parse_answer(text: str) -> Node:
    """Return the answer's structure: its one part, or a list of the parts between commas.

    Raises:
        NotReadableError: it is outside of the grammar.
    """
    if len(text) > MAXIMUM_LENGTH:
        raise NotReadableError("too long")
    parser = _Parser(text)
    try:
        parts = parser.items()
    except RecursionError:
        raise NotReadableError("it nests too deep") from None
    parser.expect_end()
    return parts[0] if len(parts) == 1 else ("list", *parts)


class _Parser(Tokens):
    """A recursive descent over the tokens; ``plus_minus`` is the sign that a plus-minus stands for at present."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.plus_minus, self.has_plus_minus, self.in_function = "+", False, False

    def items(self) -> list[Node]:
        """Read parts between commas; one with a plus-minus is two."""
        found: list[Node] = []
        while True:
            start, outer, self.has_plus_minus = self.position, self.has_plus_minus, False
            found.append(self.relation())
            if self.has_plus_minus:
                self.position, self.plus_minus = start, "-"
                found.append(self.relation())
                self.plus_minus = "+"
            self.has_plus_minus = outer
            if not self.accept(",", ";"):
                return found

    def relation(self) -> Node:
        sides, signs = [self.union()], []
        while self.peek() in RELATIONS:
            signs.append(RELATIONS[self.accept(*RELATIONS)])
            sides.append(self.union())
        return ("relation", tuple(signs), *sides) if signs else sides[0]

    def union(self) -> Node:
        parts = [self.total()]
        while self.accept(r"\cup"):
            parts.append(self.total())
        return ("union", *parts) if len(parts) > 1 else parts[0]

    def total(self) -> Node:
        terms = [self.signed_term()]
        while self.peek() in ("+", "-", r"\pm", r"\mp"):
            terms.append(self.signed_term())
        return ("add", *terms) if len(terms) > 1 else terms[0]

    def signed_term(self) -> Node:
        sign = 1
        while mark := self.accept("+", "-", r"\pm", r"\mp"):
            if mark in (r"\pm", r"\mp"):
                self.has_plus_minus = True
                mark = self.plus_minus if mark == r"\pm" else {"+": "-", "-": "+"}[self.plus_minus]
            sign = -sign if mark == "-" else sign
        term = self.product()
        return term if sign > 0 else ("multiply", ("number", "-1"), term)

    def product(self) -> Node:
        value, has_slash = self.factor(), False
        while True:
            if self.accept("*", r"\cdot", r"\times"):
                value = ("multiply", value, self.factor())
            elif self.accept("/", r"\div"):
                if has_slash:
                    raise NotReadableError("a/b/c is ambiguous")
                value, has_slash = ("divide", value, self.factor()), True
            elif self.starts_factor():
                value = ("multiply", value, self.factor())
            else:
                return value

    def starts_factor(self) -> bool:
        mark, kind = self.peek(), self.kind()
        if kind == "number":
            raise NotReadableError("a number after a factor")
        return kind in ("letter", "word") or (mark in _STARTS and mark != "|") or self.is_function()

    def is_function(self) -> bool:
        return self.kind() == "command" and self.peek()[1:] in FUNCTIONS

    def factor(self) -> Node:
        if self.accept("-"):
            return ("multiply", ("number", "-1"), self.factor())
        value = self.primary()
        while True:
            if self.accept("!"):
                value = ("factorial", value)
            elif self.peek() == "^" and r"\circ" in (self.peek(1), self.peek(1) == "{" and self.peek(2)):
                value = self.degrees(value)
            elif self.accept("^"):
                value = ("power", value, self.argument())
            else:
                return value

    def degrees(self, value: Node) -> Node:
        self.position += 4 if self.peek(1) == "{" else 2
        return ("divide", ("multiply", value, ("symbol", "pi")), ("number", "180")) if self.in_function else value

    def argument(self) -> Node:
        """Read what a command applies to: a group, a number, a letter or another command."""
        if self.accept("{"):
            value = self.total()
            self.expect("}")
            return value
        if self.accept("-"):
            return ("multiply", ("number", "-1"), self.argument())
        return self.primary()

    def argument_of_fraction(self) -> Node:
        r"""Read an argument of which a digit is enough, as in \frac12."""
        digit = self.accept_digit()
        if digit:
            return ("number", digit)
        return self.argument()

    def primary(self) -> Node:
        kind, token = self.kind(), self.peek()
        if kind is None:
            raise NotReadableError("an end where a value is expected")
        if kind in _BY_KIND:
            return _BY_KIND[kind](self)
        if self.is_function():
            return self.function()
        if token not in _STARTS:
            raise NotReadableError(f"{token!r} is no value")
        return _STARTS[token](self)

    def number(self) -> Node:
        _, token, start, _ = self.tokens[self.position]
        self.position += 1
        if self.accept("_"):
            return ("based", token, flat_text(self.argument()))
        if token.isdigit() and self.is_mixed(start + len(token)):
            return ("add", ("number", token), self.fraction_after())
        return ("number", token)

    def is_mixed(self, end: int) -> bool:
        """Return whether an integer is followed by a fraction of integers, as in 1 1/2."""
        if self.peek() in (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"):
            ahead = "".join(token[1] for token in self.tokens[self.position + 1 : self.position + 7])
            return re.match(r"\{\d+\}\{\d+\}|\d\d|\d\{\d+\}|\{\d+\}\d", ahead) is not None
        is_spaced = self.kind() == "number" and self.tokens[self.position][2] > end
        return is_spaced and self.peek(1) == "/" and self.kind(2) == "number" and self.peek().isdigit()

    def fraction_after(self) -> Node:
        if self.kind() == "command":
            self.position += 1
            return self.fraction()
        numerator, denominator = self.peek(), self.peek(2)
        self.position += 3
        return ("divide", ("number", numerator), ("number", denominator))

    def symbol(self) -> Node:
        token = self.peek()
        self.position += 1
        if self.accept("_"):
            return ("symbol", f"{token}_{flat_text(self.argument())}")
        return ("symbol", token)

    def text(self) -> Node:
        content = self.tokens[self.position][3] or self.peek()
        self.position += 1
        if re.fullmatch(r"\s*\d+(?:\.\d+)?\s*", content):
            return ("number", content.strip())
        return ("text", re.sub(r"[\s()~]+", " ", content).strip().casefold())

    def fraction(self) -> Node:
        numerator = self.argument_of_fraction()
        return ("divide", numerator, self.argument_of_fraction())

    def root(self) -> Node:
        degree: Node = ("number", "2")
        if self.accept("["):
            degree = self.total()
            self.expect("]")
        return ("root", self.argument(), degree)

    def function(self) -> Node:
        name = self.peek()[1:]
        self.position += 1
        base = self.argument() if self.accept("_") else ("number", "10")
        exponent = self.argument() if self.accept("^") else None
        outer, self.in_function = self.in_function, True
        argument = self.function_argument()
        self.in_function = outer
        call = ("function", name, argument, base) if name == "log" else ("function", name, argument)
        return ("power", call, exponent) if exponent else call

    def function_argument(self) -> Node:
        """Read the argument of a function: a bracket, or the factors up to the next bracket or function."""
        if self.peek() in ("(", "{"):
            return self.primary()
        value = self.factor()
        while self.starts_factor() and self.peek() not in ("(", "[") and not self.is_function():
            value = ("multiply", value, self.factor())
        return value

    def bracket(self, opening: str, closings: Sequence[str]) -> Node:
        inside = self.items()
        closing = self.expect(*closings)
        if len(inside) == 1 and (opening, closing) in (("(", ")"), ("{", "}"), ("[", "]")):
            return inside[0]
        return ("sequence", opening, closing, *inside)

    def braces(self) -> Node:
        inside = [] if self.peek() in (r"\}", "}") else self.items()
        self.expect(r"\}")
        return ("set", *inside)

    def absolute(self) -> Node:
        inside = self.total()
        self.expect("|")
        return ("function", "abs", inside)

    def matrix(self) -> Node:
        name = self.environment()
        if not _MATRIX.fullmatch(name):
            raise NotReadableError(f"environment {name!r}")
        if name == "array" and self.accept("{"):
            self.skip_to("}")
        rows = [self.row()]
        while self.accept(r"\\"):
            if self.peek() != r"\end":
                rows.append(self.row())
        self.expect(r"\end")
        self.environment()
        return ("matrix", *rows)

    def row(self) -> Node:
        cells = [self.relation()]
        while self.accept("&"):
            cells.append(self.relation())
        return ("row", *cells)


_BY_KIND: dict[str, Callable[[_Parser], Node]] = {
    "number": _Parser.number,
    "letter": _Parser.symbol,
    "word": _Parser.symbol,
    "text": _Parser.text,
}


def _command(read: Callable[[_Parser], Node]) -> Callable[[_Parser], Node]:
    def run(parser: _Parser) -> Node:
        parser.position += 1
        return read(parser)

    return run


_STARTS: dict[str, Callable[[_Parser], Node]] = {
    **dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"), _command(_Parser.fraction)),
    r"\sqrt": _command(_Parser.root),
    r"\begin": _command(_Parser.matrix),
    r"\{": _command(_Parser.braces),
    "(": _command(lambda parser: parser.bracket("(", (")", "]"))),
    "[": _command(lambda parser: parser.bracket("[", (")", "]"))),
    "{": _command(lambda parser: parser.bracket("{", ("}",))),
    "|": _command(_Parser.absolute),
    **{f"\\{name}": _command(lambda _, name=name: ("symbol", name)) for name in SYMBOLS},
}
