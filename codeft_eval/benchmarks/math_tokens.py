r"""Tokens of an answer to a math problem: numbers, letters, words, LaTeX commands and marks; spaces part them."""

from __future__ import annotations

import re
from typing import Any

Node = tuple[Any, ...]
MAXIMUM_LENGTH = 400
"""Characters; a longer answer is compared as text."""
FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "exp", "arcsin", "arccos", "arctan")
RELATIONS = {"=": "=", "<": "<", ">": ">", r"\lt": "<", r"\gt": ">", r"\le": "<=", r"\leq": "<=", r"\ge": ">=",
             r"\geq": ">=", r"\leqslant": "<=", r"\geqslant": ">=", r"\ne": "!=", r"\neq": "!=", r"\in": "in",
             r"\to": "to", ":": ":", r"\approx": "~", r"\equiv": "=="}  # fmt: skip
SYMBOLS = (
    "pi",
    "infty",
    "theta",
    "alpha",
    "beta",
    "gamma",
    "delta",
    "lambda",
    "mu",
    "phi",
    "omega",
    "sigma",
    "emptyset",
)
_TOKEN = re.compile(
    r"(?P<text>\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|operatorname)\s*\{(?P<content>[^{}]*)\})"
    r"|(?P<number>(?:\d+(?:\.\d+)?|\.\d+))|(?P<command>\\(?:[A-Za-z]+|.))|(?P<word>[A-Za-z]{4,}|[A-Z]{2,3})"
    r"|(?P<letter>[A-Za-z])|(?P<mark>\S)"
)


class NotReadableError(ValueError):
    """The text is outside of the grammar, or ambiguous; it is equal only to the same text."""


class Tokens:
    """A cursor over the tokens of a text; each is (kind, token, start, content of a text command)."""

    def __init__(self, text: str) -> None:
        found = _TOKEN.finditer(text)
        self.tokens = [(match.lastgroup, match[0], match.start(), match["content"]) for match in found]
        self.position = 0

    def peek(self, ahead: int = 0) -> str:
        """Return a token to come; nothing past the end."""
        index = self.position + ahead
        return self.tokens[index][1] if index < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str | None:
        """Return the kind of a token to come; None past the end."""
        index = self.position + ahead
        return self.tokens[index][0] if index < len(self.tokens) else None

    def accept(self, *wanted: str) -> str:
        """Step over the next token where it is one of those wanted, and return it; else nothing."""
        token = self.peek()
        if token in wanted and token:
            self.position += 1
            return token
        return ""

    def expect(self, *wanted: str) -> str:
        """Step over the next token, which is one of those wanted."""
        found = self.accept(*wanted)
        if not found:
            raise NotReadableError(f"{self.peek()!r} instead of one of {wanted}")
        return found

    def expect_end(self) -> None:
        """Raise where a token is left."""
        if self.position < len(self.tokens):
            raise NotReadableError(f"{self.peek()!r} after the end")

    def accept_digit(self) -> str:
        """Step over the first digit of a number of several, and return it; else nothing."""
        kind, token, start, content = self.tokens[self.position] if self.peek() else (None, "", 0, None)
        if kind != "number" or len(token) < 2 or not token.isdigit():
            return ""
        self.tokens[self.position : self.position + 1] = [
            (kind, token[0], start, content),
            (kind, token[1:], start + 1, content),
        ]
        self.position += 1
        return token[0]

    def environment(self) -> str:
        """Step over the name of a LaTeX environment in braces, and return it."""
        self.expect("{")
        start = self.position
        self.skip_to("}")
        return "".join(token[1] for token in self.tokens[start : self.position - 1])

    def skip_to(self, mark: str) -> None:
        """Step over everything up to ``mark``, and over the mark."""
        while not self.accept(mark):
            if not self.peek():
                raise NotReadableError(f"no {mark!r} closes")
            self.position += 1


def flat_text(node: Node) -> str:
    """Return what the leaves of a node read as."""
    return "".join(flat_text(part) if isinstance(part, tuple) else str(part) for part in node[1:])
