r"""Compares two answers to a math problem: by structure, and by value where the structure has one.

It covers the normalizations of Hendrycks et al., arXiv 2103.03874 (``is_equiv``), and departs from them twice: an
answer that states the name of its value or its unit is equal to one that does not, but ``x=5`` is no ``y=5`` and
``5 cm`` no ``5 m``; and where the reference is a percentage, the bare number is another value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from codeft_eval.benchmarks.math_expressions import parse_answer
from codeft_eval.benchmarks.math_tokens import MAXIMUM_LENGTH, Node, NotReadableError
from codeft_eval.benchmarks.math_values import NUMERIC_KINDS, has_open_sum, is_same_ratio, is_same_value

_CHARACTERS = str.maketrans({
    "\u2212": "-", "\u2013": "-", "\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "\u2264": r"\le ", "\u2265": r"\ge ",
    "\u2260": r"\ne ", "\u221e": r"\infty ", "\u03c0": r"\pi ", "\u221a": r"\sqrt ", "\u00b1": r"\pm ",
    "\u222a": r"\cup ", "\u2208": r"\in ", "\u00b0": r"^\circ ", "\u00b2": "^2", "\u00b3": "^3", "\u00a0": " ",
    "\u20ac": "", "\u00a3": "",
})  # fmt: skip
_REWRITES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^\\boxed\s*\{(.*)\}$", r"\1"),
        (r"\{,\}|,\s*\\!\s*(?=\d{3})|(?<!\\)\\!", ""),
        (r"(?<=\S)\s*\\approx.*$", ""),
        (r"(\\\\)|\\[,;:> ]|\\q?quad\b|~", lambda match: match[1] or " "),
        (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|boldsymbol)(?![A-Za-z])\s*\.?", ""),
        (r"\\?\$|\*\*(?=$)|^\*\*|\\[()\[\]]", ""),
        (r"\*\*", "^"),
        (r"\\[lr]?vert(?![A-Za-z])|\\mid(?![A-Za-z])", "|"),
        (r"<=|=<", r"\\le "),
        (r">=", r"\\ge "),
        (r"!=", r"\\ne "),
        (r"(?<![A-Za-z\\{])(sqrt|pi|sin|cos|tan|cot|log|ln)(?![A-Za-z])", r"\\\1 "),
        (r"(?<![A-Za-z\\{])(?:inf|infty|infinity|oo)(?![A-Za-z])", r"\\infty "),
        (r"\\(?:text|mbox|mathrm|textrm)\{\s*,?\s*(?:and|or)\s*\}|(?<=[\d\s)}])\b(?:and|or)\b", ","),
        (r",\s*,", ","),
        (r"(\d*)\.(\d*)\\(?:overline|bar)\s*\{?(\d+)\}?", lambda match: _repeating(*match.groups())),
        (r"^([-+]?\d{1,3}(?: \d{3})+)(?=\.\d|$)", lambda match: match[1].replace(" ", "")),
        (r"^([-+]?\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})$", r"\1*10^{\2}"),
        (r"^\(([A-Z])\)$", r"\1"),
    )
)
_THOUSANDS = re.compile(r"(?<![\d.])([1-9]\d{0,2}(?:,\d{3})+)(?![\d,])")
_UNIT = re.compile(
    r"^(?P<value>.*\S(?=\s*\\)|.*[\d})\]])\s*(?:\\(?:text|mbox|mathrm|textrm)\s*\{(?P<text>[^{}]*)\}|(?P<sign>\\?%)"
    r"|(?P<word>\b[A-Za-z][A-Za-z./]*(?: [A-Za-z./]+)*))(?P<power>\^\{?\d\}?)?$"
)
_UNIT_NAMES = {
    "centimeter": "cm", "millimeter": "mm", "kilometer": "km", "meter": "m", "inch": "in", "inche": "in", "foot": "ft",
    "feet": "ft", "yard": "yd", "mile": "mi", "kilogram": "kg", "gram": "g", "pound": "lb", "ounce": "oz", "liter": "l",
    "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "dollar": "$", "degree": "", "percent": "%",
    "mph": "mi/h", "mi per h": "mi/h", "square": "", "cent": "cent",
}  # fmt: skip
_PLAIN_UNITS = {"cm", "mm", "km", "m", "in", "ft", "yd", "mi", "kg", "g", "lb", "oz", "mph", "hr", "min", "sec"}
_REVERSED = {">": "<", ">=": "<=", "<": "<", "<=": "<="}


def is_same_answer(given: str, expected: str) -> bool:
    """Return whether two answers are equal by text or by value."""
    readings = list(_readings(expected))
    return any(
        _fits(unit, expected_unit) and _is_same_text(value, expected_value)
        for value, unit in _readings(given)
        for expected_value, expected_unit in readings
    )


def _readings(answer: str) -> Iterator[tuple[str, str]]:
    """Yield the (value, unit) that an answer may mean: ``1,200`` is a number or a list, ``5%`` also ``5/100``."""
    text = answer.strip().rstrip(".").strip().translate(_CHARACTERS)
    if len(text) > MAXIMUM_LENGTH:
        yield text, ""
        return
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text.strip())
    value, unit = _split_unit(text.strip().rstrip(". "))
    yield value, unit
    joined = _without_thousands(value)
    if joined != value:
        yield joined, unit
    if unit == "%":
        yield f"({joined})/100", ""


def _split_unit(text: str) -> tuple[str, str]:
    found = _UNIT.match(text)
    if not found:
        return text, ""
    words = (found["text"] or found["sign"] or found["word"] or "").strip().rstrip(".").casefold()
    if found["word"] and not any(len(word) > 3 or word in _PLAIN_UNITS for word in words.split()):
        return text, ""
    power = re.sub(r"[{}]", "", found["power"] or "")
    return found["value"].strip(), _unit_name(words) + (power or _power_in_words(words))


def _unit_name(words: str) -> str:
    singular = [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words.split()]
    names = [_UNIT_NAMES.get(word, word) for word in singular if word not in ("square", "cubic", "sq")]
    return re.sub(r"^\\%$", "%", " ".join(names))


def _power_in_words(words: str) -> str:
    return {"square": "^2", "sq": "^2", "cubic": "^3"}.get(words.split()[0] if words else "", "")


def _fits(unit: str, expected: str) -> bool:
    return unit == expected or not expected or (not unit and expected != "%")


def _without_thousands(text: str) -> str:
    """Return the text with groups of thousands joined, outside of brackets, where commas separate."""
    if re.search(r"[(\[{]", text):
        return text
    return _THOUSANDS.sub(lambda match: match[1].replace(",", ""), text)


def _repeating(whole: str, fixed: str, period: str) -> str:
    """Return a repeating decimal as a quotient of integers."""
    nines = (10 ** len(period) - 1) * 10 ** len(fixed)
    return f"({int((whole or '0') + fixed + period) - int((whole or '0') + fixed)}/{nines})"


def _is_same_text(given: str, expected: str) -> bool:
    if _without_spaces(given) == _without_spaces(expected):
        return bool(expected)
    if _is_same_word(given, expected):
        return True
    try:
        answer, reference = parse_answer(given), parse_answer(expected)
    except NotReadableError:
        return False
    is_unfinished = answer[0] != "list" and has_open_sum(answer) and not has_open_sum(reference)
    return not is_unfinished and _is_same(answer, reference)


def _without_spaces(text: str) -> str:
    """Return the text without the spaces that mean nothing; between capital letters a space parts two names."""
    return re.sub(r"(?<![A-Z\d])\s+|\s+(?![A-Z\d])", "", text)


def _is_same_word(given: str, expected: str) -> bool:
    """Return whether two answers in words are the same but for their case; of two letters, ``AB`` is no ``ab``."""
    words = [
        re.sub(r"\\(?:text|mbox|mathrm|textbf|textit|textrm)\s*\{([^{}]*)\}", r"\1", text) for text in (given, expected)
    ]
    one, other = (re.sub(r"[\s()]+", " ", word).strip() for word in words)
    is_text = words != [given, expected] or len(one) > 3 or one[1:] == other[1:]
    return is_text and len(one) > 1 and one.replace(" ", "").isalpha() and one.casefold() == other.casefold()


def _is_same(given: Node, expected: Node) -> bool:
    if given == expected:
        return True
    given, expected = _without_name(given, expected), _without_name(expected, given)
    kinds = given[0], expected[0]
    if set(kinds) <= NUMERIC_KINDS:
        return is_same_value(given, expected)
    if "text" in kinds:
        return _letters(given) == _letters(expected) != ""
    if set(kinds) <= {"list", "set"} or kinds == ("union", "union"):
        return _is_same_collection(given[1:], expected[1:])
    return kinds[0] == kinds[1] and _BY_PARTS.get(kinds[0], _is_same_list)(given[1:], expected[1:])


def _without_name(node: Node, other: Node) -> Node:
    """Return the value of ``x = value`` or ``x in set`` where the other answer states no name."""
    if node[0] != "relation" or other[0] == "relation" or node[1] not in (("=",), ("in",)):
        return node
    return node[3] if _is_name(node[2]) else node


def _is_name(node: Node) -> bool:
    if node[0] == "symbol":
        return node[1] not in ("pi", "infty")
    if node[0] == "sequence":
        return all(_is_name(part) for part in node[3:])
    return node[0] == "multiply" and all(_is_name(part) for part in node[1:])


def _letters(node: Node) -> str:
    """Return the word that the letters of a product, a name or a text make."""
    if node[0] in ("text", "symbol"):
        return node[1].casefold()
    return "".join(map(_letters, node[1:])) if node[0] == "multiply" and all(node[1:]) else ""


def _is_same_list(given: Sequence, expected: Sequence) -> bool:
    return len(given) == len(expected) and all(
        _is_same(one, other) if isinstance(one, tuple) and isinstance(other, tuple) else one == other
        for one, other in zip(given, expected, strict=True)
    )


def _is_same_collection(given: Sequence[Node], expected: Sequence[Node]) -> bool:
    """Return whether the parts are the same in any order."""
    left = list(expected)
    for part in given:
        match = next((index for index, other in enumerate(left) if _is_same(part, other)), None)
        if match is None:
            return False
        del left[match]
    return not left


def _is_same_relation(given: Sequence, expected: Sequence) -> bool:
    (signs, *sides), (other_signs, *other_sides) = given, expected
    if signs == other_signs == ("=",):
        return _is_same_equation(sides, other_sides)
    one, other = _oriented(signs, sides), _oriented(other_signs, other_sides)
    return one[0] == other[0] and _is_same_list(one[1], other[1])


def _is_same_equation(given: Sequence[Node], expected: Sequence[Node]) -> bool:
    if _is_same_list(given, expected):
        return True
    if not {side[0] for side in (*given, *expected)} <= NUMERIC_KINDS:
        return False
    differences = [("add", left, ("multiply", ("number", "-1"), right)) for left, right in (given, expected)]
    return is_same_ratio(*differences)


def _oriented(signs: Sequence[str], sides: Sequence[Node]) -> tuple[Sequence[str], Sequence[Node]]:
    """Return a chain of inequalities from the least side to the greatest."""
    if signs and set(signs) <= {">", ">="}:
        return tuple(_REVERSED[sign] for sign in reversed(signs)), tuple(reversed(sides))
    return tuple(signs), tuple(sides)


_BY_PARTS: dict[str, Callable[[Sequence, Sequence], bool]] = {"relation": _is_same_relation}
