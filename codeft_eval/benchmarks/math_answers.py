r"""When two answers to a math problem are the same: by text after the usual normalizations of MATH, or by value.

The normalizations follow Hendrycks et al., arXiv 2103.03874 (``is_equiv``): spacing commands, units and currency marks
go, ``\dfrac`` is ``\frac``, ``1/2`` is ``\frac{1}{2}``. A number is equal to a number by value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

_STATED = re.compile(r"(?:final )?answer is:?\s*(.+?)(?:\.\s|\.?$|\n)", re.IGNORECASE)
_REMOVED = (
    r"\left",
    r"\right",
    r"\!",
    r"\,",
    r"\;",
    r"\ ",
    r"^\circ",
    r"^{\circ}",
    r"\$",
    "$",
    r"\%",
    "%",
    r"\displaystyle",
)
_REPLACED = ((r"\dfrac", r"\frac"), (r"\tfrac", r"\frac"), (r"\cdot", "*"), (r"\le ", r"\leq "), (r"\ge ", r"\geq "))
_TEXT = re.compile(r"\\(?:text|mbox|textbf|mathrm)\{([^{}]*)\}")
_UNITS = re.compile(r"(?<=[\d}])\s*\\(?:text|mbox|mathrm)\{[^{}]*\}(?:\^\{?\d\}?)?$")
_CLOSING = re.compile(r"=\s*\$?\s*(-?(?:\d[\d,]*(?:\.\d+)?(?:/\d+)?|\\d?frac\{-?\d+\}\{\d+\}))\s*\$*\s*\.?\s*$")
_ASKS = re.compile(r"\b(?:find|compute|determine|evaluate|calculate|how many|what (?:is|are))\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")
_FRACTION = re.compile(r"(-?)\\frac\{(-?\d+)\}\{(-?\d+)\}")


def boxed_answer(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{…}`` or ``\fbox{…}`` of a text; None when there is none that closes."""
    start = max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))
    if start < 0:
        return None
    after = text[start:].split("boxed" if text.startswith(r"\boxed", start) else "fbox", 1)[1].lstrip()
    if not after.startswith("{"):
        return after.split("$")[0].split("\n")[0].strip() or None
    depth = 0
    for index, character in enumerate(after):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return after[1:index].strip()
    return None


def stated_answer(completion: str) -> str | None:
    """Return the answer that a completion gives: boxed, or after "the answer is"."""
    found = boxed_answer(completion)
    if found is not None:
        return found
    stated = _STATED.findall(completion)
    return stated[-1].strip() if stated else None


def closing_answer(text: str) -> str | None:
    """Return the answer that a solution states, or else the value of the equation that it ends on."""
    closing = _CLOSING.search(text)
    return stated_answer(text) or (closing[1] if closing else None)


def reference_answer(problem: str, solution: str) -> str:
    """Return the answer of a problem that asks for a value; empty for proofs and where the solution has none."""
    return (_ASKS.search(problem) and closing_answer(solution)) or ""


def is_same_answer(given: str, expected: str) -> bool:
    """Return whether two answers are equal by text or by value."""
    left, right = normalize(given), normalize(expected)
    if left == right:
        return True
    values = parse_value(left), parse_value(right)
    return None not in values and values[0] == values[1]


def normalize(answer: str) -> str:
    """Return the answer without the marks that do not change it."""
    text = _UNITS.sub("", answer.strip().rstrip("."))
    for old, new in _REPLACED:
        text = text.replace(old, new)
    for mark in _REMOVED:
        text = text.replace(mark, "")
    text = _TEXT.sub(r"\1", text)
    text = re.sub(r"\s+", "", text)
    text = re.sub(r"^[A-Za-z]=", "", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\\frac(\w)(\w)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac(\{[^{}]*\})(\w)", r"\\frac\1{\2}", text)
    text = re.sub(r"\\sqrt(\w)", r"\\sqrt{\1}", text)
    return re.sub(r"^(-?\d+)/(\d+)$", r"\\frac{\1}{\2}", text)


def parse_value(text: str) -> Fraction | None:
    """Return the value of a plain number or fraction."""
    readers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Fraction]], ...] = (
        (_NUMBER, lambda match: Fraction(match[0])),
        (_FRACTION, lambda match: Fraction(int(match[1] + "1") * int(match[2]), int(match[3]))),
    )
    for pattern, read in readers:
        match = pattern.fullmatch(text)
        if match:
            try:
                return read(match)
            except ZeroDivisionError:
                return None
    return None
